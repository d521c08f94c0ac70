// ap_fixed and ap_ufixed for C-simulation on native integers; see ap_int.h.
#ifndef HWFLOW_FAST_AP_FIXED_H_
#define HWFLOW_FAST_AP_FIXED_H_

#include "ap_int.h"
#include "native/fixed.h"
#include "native/fixed_operators.h"
#include "native/fixed_text.h"

#define HWFLOW_FIXED(NAME, SIGNED)                                                               \
    template <int WIDTH, int INTEGER_BITS, ap_q_mode ROUNDING, ap_o_mode OVERFLOW, int SATURATED> \
    struct NAME                                                                                  \
        : ap_native::fixed<WIDTH, INTEGER_BITS, SIGNED, ROUNDING, OVERFLOW, SATURATED> {         \
        typedef ap_native::fixed<WIDTH, INTEGER_BITS, SIGNED, ROUNDING, OVERFLOW, SATURATED>     \
            number;                                                                              \
        using number::number;                                                                    \
        NAME() = default;                                                                        \
        NAME(const number& other) : number(other) {}                                             \
    };
HWFLOW_FIXED(ap_fixed, true)
HWFLOW_FIXED(ap_ufixed, false)
#undef HWFLOW_FIXED

template <int WIDTH, int INTEGER_BITS, bool SIGNED, ap_q_mode ROUNDING = AP_TRN,
          ap_o_mode OVERFLOW = AP_WRAP, int SATURATED = 0>
using ap_fixed_base =
    ap_native::fixed<WIDTH, INTEGER_BITS, SIGNED, ROUNDING, OVERFLOW, SATURATED>;

#endif  // HWFLOW_FAST_AP_FIXED_H_
