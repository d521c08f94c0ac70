// ap_int and ap_uint for C-simulation on native integers; the vendor's own headers are used in HLS.
//
// They compute what the reference types compute, bit by bit, and take the same bytes in memory.
// Not there: std::complex of them, hls_math.h, and the volatile overloads.
#ifndef HWFLOW_FAST_AP_INT_H_
#define HWFLOW_FAST_AP_INT_H_

#include "native/integer.h"
#include "native/operators.h"
#include "native/references.h"
#include "native/text.h"

template <int WIDTH>
struct ap_int : ap_native::integer<WIDTH, true> {
    using ap_native::integer<WIDTH, true>::integer;
    ap_int() = default;
    ap_int(const ap_native::integer<WIDTH, true>& other) : ap_native::integer<WIDTH, true>(other) {}
};

template <int WIDTH>
struct ap_uint : ap_native::integer<WIDTH, false> {
    using ap_native::integer<WIDTH, false>::integer;
    ap_uint() = default;
    ap_uint(const ap_native::integer<WIDTH, false>& other) : ap_native::integer<WIDTH, false>(other) {}
};

#define ap_bigint ap_int
#define ap_biguint ap_uint

template <int WIDTH, bool SIGNED>
using ap_int_base = ap_native::integer<WIDTH, SIGNED>;

#include "ap_fixed.h"

#endif  // HWFLOW_FAST_AP_INT_H_
