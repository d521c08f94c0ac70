// Floating point numbers to integers and back.
#ifndef HWFLOW_NATIVE_REAL_H_
#define HWFLOW_NATIVE_REAL_H_

#include <cstring>

#include "word.h"

namespace ap_native {

// sign * mantissa * 2**exponent, with the leading one in bit 52 of the mantissa; zero is all zero.
// An infinity is a number of exponent 972, a subnormal one has a leading one too.
struct real_parts {
    bool is_negative;
    unsigned long long mantissa;
    int exponent;

    explicit real_parts(double value) {
        unsigned long long bits;
        std::memcpy(&bits, &value, sizeof bits);
        is_negative = bits >> 63 != 0;
        const bool is_zero = bits << 1 == 0;
        mantissa = is_zero ? 0 : (bits & ones<unsigned long long>(52)) | 1ULL << 52;
        exponent = is_zero ? 0 : int(bits >> 52 & 0x7ff) - 1023 - 52;
    }
};

// A double to an integer as the reference types have it: toward zero, except that a magnitude so
// small that the mantissa and its sign are shifted out makes 1 of a negative number.
template <typename U>
inline U truncated_real(double value, int mantissa_bits, int width) {
    const real_parts parts(value);
    if (parts.mantissa == 0) {
        return U(0);
    }
    const unsigned long long mantissa = parts.mantissa >> (52 - mantissa_bits);
    const int exponent = parts.exponent + 52 - mantissa_bits;
    U magnitude(0);
    if (exponent <= -(mantissa_bits + 2)) {
        magnitude = parts.is_negative ? ~U(0) : U(0);
    } else if (exponent <= 0) {
        magnitude = U(mantissa >> -exponent);
    } else if (exponent < width) {
        magnitude = U(U(mantissa) << exponent);
    }
    return parts.is_negative ? U(U(0) - magnitude) : magnitude;
}

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_REAL_H_
