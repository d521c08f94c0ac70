// Requantization: shift, divide, round once, saturate. The only operation that loses bits.
#ifndef HWFLOW_REQUANTIZE_H_
#define HWFLOW_REQUANTIZE_H_

#include "beat.h"

namespace hwflow {

// The rounding modes of ap_fixed, under its names.
enum rounding_mode {
    TRN,          // toward minus infinity
    TRN_ZERO,     // toward zero
    RND,          // nearest, ties toward plus infinity
    RND_ZERO,     // nearest, ties toward zero
    RND_INF,      // nearest, ties away from zero
    RND_MIN_INF,  // nearest, ties toward minus infinity
    RND_CONV      // nearest, ties to even
};

// The overflow modes of ap_fixed, under its names.
enum overflow_mode {
    WRAP,      // keep the low bits
    SAT,       // the nearest end of the range
    SAT_ZERO,  // zero
    SAT_SYM    // plus or minus the maximum
};

// A requantization that changes nothing: OUT holds every value of ACCUMULATOR that occurs.
template <typename ACCUMULATOR, typename OUT>
struct unchanged {
    typedef ACCUMULATOR accumulator_t;
    typedef OUT output_t;
    static const int shift = 0;
    static const int divisor = 1;
    static const unsigned long long reciprocal_multiplier = 1;
    static const int reciprocal_shift = 0;
    static const rounding_mode rounding = TRN;
    static const overflow_mode overflow = WRAP;
    static const bool is_limited = false;
    static const long long maximum = 0;
};

// An unsigned product: native up to 64 bits.
template <bool FITS_64, int BITS>
struct wide_unsigned {
    typedef unsigned long long type;
};
template <int BITS>
struct wide_unsigned<false, BITS> {
    typedef ap_uint<BITS> type;
};

// floor(value / divisor) for value >= 0: one multiplication and one shift. That this is exact over
// the whole range of `value` is proved where the constants are computed.
template <typename R, int VALUE_BITS>
inline unsigned long long divide_by_reciprocal(unsigned long long value) {
#pragma HLS INLINE
    static const int BITS = VALUE_BITS + bit_length<R::reciprocal_multiplier>::value;
    typedef typename wide_unsigned<(BITS <= 64), BITS>::type product_t;
    const product_t product = product_t(value) * product_t(R::reciprocal_multiplier);
    return (unsigned long long)(product >> R::reciprocal_shift);
}

// Brings a sum to its output format:  round(value * 2**-shift / divisor), then overflow.
//
// R: accumulator_t, output_t (ap_int or ap_uint); shift (may be negative), divisor (1 or more),
//    reciprocal_multiplier, reciprocal_shift (used when divisor > 1), rounding, overflow;
//    is_limited, maximum (a greatest result below the type's, for SAT and SAT_SYM).
template <typename R>
inline typename R::output_t requantize(const typename R::accumulator_t& value) {
#pragma HLS INLINE
    typedef typename R::accumulator_t in_t;
    typedef typename R::output_t out_t;
    static const int UP = R::shift < 0 ? -R::shift : 0;
    static const int DOWN = R::shift > 0 ? R::shift : 0;
    static const int NUMERATOR_BITS = raw<in_t>::bits + UP;
    static const int MAGNITUDE_BITS = NUMERATOR_BITS - 1 > DOWN ? NUMERATOR_BITS - 1 - DOWN : 1;
    static const int DENOMINATOR_BITS = bit_length<R::divisor>::value + DOWN + 1;
    static const int BITS =
        1 + (NUMERATOR_BITS > DENOMINATOR_BITS ? NUMERATOR_BITS : DENOMINATOR_BITS);
    typedef typename native<BITS>::type number;

    const number denominator = number(R::divisor) * (number(1) << DOWN);
    const number numerator = number(load(value)) * (number(1) << UP);
    const bool negative = numerator < 0;

    number quotient;  // the floor
    if (R::divisor == 1) {
        quotient = numerator >> DOWN;
    } else {
        // floor(n / d) = -1 - floor((-1 - n) / d), so the magnitude alone is divided.
        const number magnitude = negative ? number(~numerator) : numerator;
        const number divided = number(
            divide_by_reciprocal<R, MAGNITUDE_BITS>((unsigned long long)(magnitude >> DOWN)));
        quotient = negative ? number(~divided) : divided;
    }

    const number remainder = numerator - quotient * denominator;
    const number missing = denominator - remainder;
    const bool above = remainder > missing;
    const bool tie = remainder == missing;
    bool up;
    switch (R::rounding) {
    case TRN: up = false; break;
    case TRN_ZERO: up = negative && remainder != 0; break;
    case RND: up = above || tie; break;
    case RND_ZERO: up = above || (tie && negative); break;
    case RND_INF: up = above || (tie && !negative); break;
    case RND_MIN_INF: up = above; break;
    default: up = above || (tie && (quotient & 1) != 0); break;
    }
    const number rounded = quotient + (up ? 1 : 0);

    if (R::overflow == WRAP) {
        return out_t(rounded);
    }
    // Limits beyond the native range cannot be passed.
    static const int NATIVE_BITS = 8 * int(sizeof(number));
    static const int VALUE_BITS = raw<out_t>::width - (raw<out_t>::is_signed ? 1 : 0);
    static const bool REACHABLE = VALUE_BITS < NATIVE_BITS - 1;
    static const int EXPONENT = REACHABLE ? VALUE_BITS : 0;
    static const bool SYMMETRIC = R::overflow == SAT_SYM && VALUE_BITS > 0;
    const number greatest = (number(1) << EXPONENT) - 1;
    const number maximum = R::is_limited ? number(R::maximum) : greatest;
    const number minimum = raw<out_t>::is_signed ? -greatest - (SYMMETRIC ? 0 : 1) : 0;
    const bool beyond = (REACHABLE || R::is_limited) && rounded > maximum;
    const bool below = (REACHABLE || !raw<out_t>::is_signed) && rounded < minimum;
    if (R::overflow == SAT_ZERO) {
        return out_t(beyond || below ? number(0) : rounded);
    }
    return out_t(beyond ? maximum : below ? minimum : rounded);
}

// Writes a beat of sums, each requantized; they may be registers or native integers.
template <typename R, typename SUM, int LANES, typename OUT>
inline void write_requantized(const SUM (&sums)[LANES], hls::stream<beat<OUT, LANES> >& output) {
#pragma HLS INLINE
    beat<OUT, LANES> to;
    HWFLOW_ONE_WORD(to)
RESULT:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        to.lane[lane] = requantize<R>(typename R::accumulator_t(sums[lane]));
    }
    output.write(to);
}

// Requantizes a stream, a beat a cycle.
//
// CONFIG: pixels, channels, lanes, input_t, output_t, requantization.
template <typename CONFIG>
void requantize_stream(hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
                       hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output) {
#pragma HLS INLINE  // the layer's own function is the process
    static const int BEATS = CONFIG::pixels * (CONFIG::channels / CONFIG::lanes);
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
BEAT:
    for (int index = 0; index < BEATS; ++index) {
#pragma HLS PIPELINE II=1
        const beat<typename CONFIG::input_t, CONFIG::lanes>& from = input.read();
        write_requantized<typename CONFIG::requantization>(from.lane, output);
    }
}

}  // namespace hwflow

#endif  // HWFLOW_REQUANTIZE_H_
