// Rounding and overflow of fixed-point numbers, in one place for every conversion.
#ifndef HWFLOW_NATIVE_QUANTIZATION_H_
#define HWFLOW_NATIVE_QUANTIZATION_H_

#include "word.h"

// What happens to the bits below the last kept one.
enum ap_q_mode {
    AP_RND,          // nearest, ties toward plus infinity
    AP_RND_ZERO,     // nearest, ties toward zero
    AP_RND_MIN_INF,  // nearest, ties toward minus infinity
    AP_RND_INF,      // nearest, ties away from zero
    AP_RND_CONV,     // nearest, ties to even
    AP_TRN,          // toward minus infinity
    AP_TRN_ZERO      // toward zero
};

// What happens to a value beyond the range.
enum ap_o_mode {
    AP_SAT,       // the nearest end of the range
    AP_SAT_ZERO,  // zero
    AP_SAT_SYM,   // plus or minus the maximum
    AP_WRAP,      // the low bits; the highest N bits saturate
    AP_WRAP_SM    // the same with the sign and the magnitude kept apart
};

namespace ap_native {

// Whether a value that was cut is to be one greater.
//
// MODE: rounding. half: the highest bit that was cut. rest: whether one below it is set.
template <ap_q_mode MODE>
inline bool rounds_up(bool negative, bool odd, bool half, bool rest) {
    return MODE == AP_RND            ? half
           : MODE == AP_RND_ZERO     ? half && (negative || rest)
           : MODE == AP_RND_MIN_INF  ? half && rest
           : MODE == AP_RND_INF      ? half && (!negative || rest)
           : MODE == AP_RND_CONV     ? half && (odd || rest)
           : MODE == AP_TRN_ZERO     ? negative && (half || rest)
                                     : false;
}

// A number of BITS bits that passed a rounding, to WIDTH bits.
//
// source_bit: of the number before it was rounded, the bit of weight 2**WIDTH.
template <int WIDTH, bool SIGNED, ap_o_mode MODE, int SATURATED, int BITS>
struct overflow {
    typedef typename word<greater(BITS, WIDTH + 1)>::type pattern_t;

    static pattern_t bit(int index) { return pattern_t(1) << index; }

    static pattern_t limited(const pattern_t& value, bool source_bit) {
        const pattern_t maximum = ones<pattern_t>(SIGNED ? WIDTH - 1 : WIDTH);
        // One bit has no other negative value than -1.
        static const bool SYMMETRIC = MODE == AP_SAT_SYM && WIDTH > 1;
        const pattern_t minimum = !SIGNED     ? pattern_t(0)
                                  : SYMMETRIC ? pattern_t(pattern_t(0) - maximum)
                                              : pattern_t(~maximum);
        const bool negative = top_bit(value);
        const bool above = !negative && maximum < value;
        const bool below = negative && (!SIGNED || value < minimum);
        if (!(above || below)) {
            return value;
        }
        switch (MODE) {
        case AP_SAT_ZERO: return pattern_t(0);
        case AP_WRAP: return wrapped_partly(value, negative);
        case AP_WRAP_SM: return wrapped_magnitude(value, negative, source_bit);
        default: return above ? maximum : minimum;
        }
    }

    // The N highest bits as those of the end of the range: 0111 or 1000, 1111 if unsigned.
    static pattern_t wrapped_partly(const pattern_t& value, bool negative) {
        static const int KEPT = SATURATED > WIDTH ? 0 : WIDTH - SATURATED;
        const pattern_t low = value & ones<pattern_t>(KEPT);
        if (SATURATED == 0) {
            return value;
        }
        const pattern_t all = ones<pattern_t>(WIDTH) & ~ones<pattern_t>(KEPT);
        const pattern_t sign = SIGNED ? bit(WIDTH - 1) : pattern_t(0);
        return pattern_t(low | (!SIGNED ? all : negative ? sign : pattern_t(all & ~sign)));
    }

    static pattern_t wrapped_magnitude(const pattern_t& value, bool negative, bool source_bit) {
        const pattern_t sign = bit(WIDTH - 1);
        pattern_t result = value;
        if (SATURATED == 0) {
            if (source_bit != bool(result & sign)) {
                result = ~result;
            }
            return source_bit ? pattern_t(result | sign) : pattern_t(result & ~sign);
        }
        if (SATURATED == 1) {
            result = negative != bool(result & sign) ? pattern_t(~result) : result;
        } else {
            static const int LAST = SATURATED > WIDTH ? 0 : WIDTH - SATURATED;
            result = bool(result & bit(LAST)) == negative ? pattern_t(~result) : result;
            const pattern_t between = ones<pattern_t>(WIDTH - 1) & ~ones<pattern_t>(LAST);
            result = negative ? pattern_t(result & ~between) : pattern_t(result | between);
        }
        return negative ? pattern_t(result | sign) : pattern_t(result & ~sign);
    }
};

// A number with fractional bits, brought to other ones.
//
// FROM_WIDTH, FROM_FRACTION, FROM_SIGNED: of the number; the others of the result.
template <int FROM_WIDTH, int FROM_FRACTION, bool FROM_SIGNED, int WIDTH, int FRACTION, bool SIGNED,
          ap_q_mode ROUNDING, ap_o_mode OVERFLOW, int SATURATED>
struct quantization {
    static const int DOWN = greater(FROM_FRACTION - FRACTION, 0);
    // Beyond one bit more than the result has, all shifts are the same.
    static const int UP = lesser(greater(FRACTION - FROM_FRACTION, 0), WIDTH + 1);
    static const int BITS = FROM_WIDTH + UP + 2;  // a sign, a carry
    typedef overflow<WIDTH, SIGNED, OVERFLOW, SATURATED, BITS> overflow_t;
    typedef typename overflow_t::pattern_t pattern_t;
    typedef typename storage<WIDTH, SIGNED>::type kept_t;

    template <typename T>
    static kept_t of(const T& value) {
        return rounded(to_pattern<FROM_SIGNED, pattern_t, T>::of(value));
    }

    static kept_t rounded(const pattern_t& value) {
        static const int LAST = bits_of<pattern_t>() - 1;
        static const int CUT = lesser(DOWN, LAST);
        pattern_t result = UP ? pattern_t(value << UP) : shifted_down(value, CUT);
        if (ROUNDING != AP_TRN && DOWN > 0) {
            const bool negative = top_bit(value);
            const bool half = DOWN > LAST ? negative : bit_of(value, DOWN > LAST ? 0 : DOWN - 1);
            const bool rest = (value & ones<pattern_t>(DOWN > LAST ? LAST + 1 : DOWN - 1)) !=
                              pattern_t(0);
            const bool odd = bit_of(result, 0);
            result = result + pattern_t(rounds_up<ROUNDING>(negative, odd, half, rest));
        }
        if (OVERFLOW != AP_WRAP || SATURATED != 0) {
            // The bit of weight 2**WIDTH, in the number as it came.
            static const int PLACE = FROM_FRACTION - FRACTION + WIDTH;
            const bool inside = PLACE >= 0 && PLACE < FROM_WIDTH;
            result = overflow_t::limited(result, inside && bit_of(value, inside ? PLACE : 0));
        }
        return kept<WIDTH, SIGNED>(result);
    }

    static bool bit_of(const pattern_t& value, int index) {
        return bool(value >> index & pattern_t(1));
    }
};

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_QUANTIZATION_H_
