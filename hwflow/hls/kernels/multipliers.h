// What makes products: look-up tables, DSP slices, or DSP slices that make two products each.
#ifndef HWFLOW_MULTIPLIERS_H_
#define HWFLOW_MULTIPLIERS_H_

#include "weights.h"

#ifdef __VITIS_HLS__
#define HWFLOW_BIND_PRODUCT(variable, vitis, vivado) \
    HWFLOW_PRAGMA(HLS BIND_OP variable = variable op = mul impl = vitis)
#else
#define HWFLOW_BIND_PRODUCT(variable, vitis, vivado) \
    HWFLOW_PRAGMA(HLS RESOURCE variable = variable core = vivado)
#endif

namespace hwflow {

// CONFIG::multiplier_t is one of these.
struct by_the_tool {};  // as the tool chooses by the operands' widths
struct in_luts {};
struct in_dsps {};
struct in_dsp_pairs {};  // two output channels' products of one input; the last of an odd number
                         // alone

template <typename product_t, typename a_t, typename b_t>
inline product_t product_of(a_t a, b_t b, by_the_tool) {
#pragma HLS INLINE
    return product_t(a) * product_t(b);
}

template <typename product_t, typename a_t, typename b_t>
inline product_t product_of(a_t a, b_t b, in_luts) {
#pragma HLS INLINE
    product_t product = product_t(a) * product_t(b);
    HWFLOW_BIND_PRODUCT(product, fabric, Mul_LUT)
    return product;
}

template <typename product_t, typename a_t, typename b_t>
inline product_t product_of(a_t a, b_t b, in_dsps) {
#pragma HLS INLINE
    product_t product = product_t(a) * product_t(b);
    HWFLOW_BIND_PRODUCT(product, dsp, DSP48)
    return product;
}

template <typename product_t, typename a_t, typename b_t>
inline product_t product_of(a_t a, b_t b, in_dsp_pairs) {
#pragma HLS INLINE
    return product_of<product_t>(a, b, in_dsps());
}

// Two products of one input in one multiplier of 25 x 18 bits (27 x 18 in UltraScale): the weights
// stand in one operand, `high` above `low`, so far apart that the product of `low`, with its sign,
// does not reach that of `high`. A negative product of `low` borrows one from what stands above it:
// that one is given back.
//
// CONFIG: input_t, weight_width.
template <typename CONFIG, typename product_t, typename input_t, typename weight_t>
inline void two_products(input_t input, weight_t low, weight_t high, product_t& low_product,
                         product_t& high_product) {
#pragma HLS INLINE
    static const int WEIGHT = CONFIG::weight_width;
    static const int SPLIT = raw<typename CONFIG::input_t>::width + WEIGHT;
    static const int BOTH = SPLIT + WEIGHT + 1;
    static const int INPUT = raw<typename CONFIG::input_t>::bits;
    static_assert(BOTH <= 25 && INPUT <= 18, "two products do not fit one DSP slice");
    typedef typename native<BOTH + INPUT>::type wide_t;
    const wide_t weights = narrow<ap_int<BOTH> >(wide_t(high) * (wide_t(1) << SPLIT) + low);
    wide_t product = weights * wide_t(input);
    HWFLOW_BIND_PRODUCT(product, dsp, DSP48)
    const wide_t below = narrow<ap_int<SPLIT> >(product);
    low_product = product_t(below);
    high_product = product_t((product >> SPLIT) + (below < 0 ? 1 : 0));
}

// The products of `simd` inputs with the weights of one output lane, summed.
template <typename CONFIG, typename product_t, typename MULTIPLIER, typename number,
          typename input_t, typename word_t, int WORDS>
inline number lane_sum(const input_t (&inputs)[CONFIG::simd], const word_t (&row)[WORDS],
                       int lane) {
#pragma HLS INLINE
    number sum = 0;
PRODUCT:
    for (int part = 0; part < CONFIG::simd; ++part) {
#pragma HLS UNROLL
        sum += product_of<product_t>(inputs[part],
                                     weight_lane<CONFIG>(row, lane * CONFIG::simd + part),
                                     MULTIPLIER());
    }
    return sum;
}

// The products of `simd` inputs with the weights of `pe` output lanes, summed in each lane.
template <typename MULTIPLIER>
struct dot_products {
    template <typename CONFIG, typename product_t, typename input_t, typename word_t, int WORDS,
              typename number>
    static void sum(const input_t (&inputs)[CONFIG::simd], const word_t (&row)[WORDS],
                    number (&sums)[CONFIG::pe]) {
#pragma HLS INLINE
    LANE:
        for (int lane = 0; lane < CONFIG::pe; ++lane) {
#pragma HLS UNROLL
            sums[lane] = lane_sum<CONFIG, product_t, MULTIPLIER, number>(inputs, row, lane);
        }
    }
};

template <>
struct dot_products<in_dsp_pairs> {
    template <typename CONFIG, typename product_t, typename input_t, typename word_t, int WORDS,
              typename number>
    static void sum(const input_t (&inputs)[CONFIG::simd], const word_t (&row)[WORDS],
                    number (&sums)[CONFIG::pe]) {
#pragma HLS INLINE
        static const int PAIRED = CONFIG::pe / 2 * 2;
    PAIR:
        for (int lane = 0; lane < PAIRED; lane += 2) {
#pragma HLS UNROLL
            sums[lane] = 0;
            sums[lane + 1] = 0;
        PRODUCT:
            for (int part = 0; part < CONFIG::simd; ++part) {
#pragma HLS UNROLL
                product_t low;
                product_t high;
                two_products<CONFIG>(inputs[part],
                                     weight_lane<CONFIG>(row, lane * CONFIG::simd + part),
                                     weight_lane<CONFIG>(row, (lane + 1) * CONFIG::simd + part),
                                     low, high);
                sums[lane] += low;
                sums[lane + 1] += high;
            }
        }
    SINGLE:
        for (int lane = PAIRED; lane < CONFIG::pe; ++lane) {
#pragma HLS UNROLL
            sums[lane] = lane_sum<CONFIG, product_t, in_dsps, number>(inputs, row, lane);
        }
    }
};

}  // namespace hwflow

#endif  // HWFLOW_MULTIPLIERS_H_
