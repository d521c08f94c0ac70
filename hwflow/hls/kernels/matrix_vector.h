// Convolution of windows with weights, folded over output channels (pe) and inputs (simd).
#ifndef HWFLOW_MATRIX_VECTOR_H_
#define HWFLOW_MATRIX_VECTOR_H_

#include "beat.h"
#include "multipliers.h"
#include "requantize.h"
#include "weights.h"

namespace hwflow {

// For each pixel and each output channel: bias + sum of weight * input * 2**shift, then the
// requantization; the shift is product_shift plus the channel's own. `pe` output channels are summed
// side by side, `simd` products a cycle each.
//
// Schedule: one iteration a cycle without a gap, in the order pixel, group, output fold of the
// group, input fold, tap. The input beats of a group are read during its first output fold and kept
// for the others; an output beat is written in the last iteration of its output fold. So a pixel
// takes (out_channels / pe) * (in_channels / groups / simd) * taps cycles.
//
// CONFIG: pixels, taps, in_channels, out_channels, groups, simd (divides in_channels / groups), pe
//         (divides out_channels / groups), input_t, output_t, accumulator_t (ap_int, wide enough
//         for every partial sum), multiplier_t (of multipliers.h), weight_width, product_shift,
//         shift_bits, requantization.
// input:  for each pixel, for each input fold, for each tap: a beat (what sliding_window emits). With
//         all taps side by side, as parallel_window emits them, this is a layer of one tap whose
//         inputs are the values of a window.
// weights: rows in the order of the schedule; in a row output lane by output lane, each with its
//         simd weights. The caller declares them (and the biases) and makes a row one memory word.
template <typename CONFIG, typename word_t, int FOLDS, int WORDS, typename bias_t>
void matrix_vector(hls::stream<beat<typename CONFIG::input_t, CONFIG::simd> >& input,
                   hls::stream<beat<typename CONFIG::output_t, CONFIG::pe> >& output,
                   const word_t (&weights)[FOLDS][WORDS],
                   const bias_t (&biases)[CONFIG::out_channels / CONFIG::pe][CONFIG::pe]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t input_t;
    typedef typename CONFIG::accumulator_t accumulator_t;
    // One bit more than the accumulator: a sum of some products alone, without the bias.
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    typedef typename native<raw<input_t>::bits + CONFIG::weight_width>::type product_t;
    typedef typename operand<raw<input_t>::bits>::type operand_t;

    static const int TERMS = CONFIG::in_channels / CONFIG::groups / CONFIG::simd * CONFIG::taps;
    static const int FILTERS = CONFIG::out_channels / CONFIG::groups / CONFIG::pe;
    static_assert(CONFIG::in_channels % (CONFIG::groups * CONFIG::simd) == 0,
                  "simd must divide the input channels of a group");
    static_assert(CONFIG::out_channels % (CONFIG::groups * CONFIG::pe) == 0,
                  "pe must divide the output channels of a group");
    static_assert(FOLDS == CONFIG::groups * FILTERS * TERMS, "one row of weights a cycle");

    input_t window[TERMS][CONFIG::simd];  // the beats of a group
#pragma HLS ARRAY_RESHAPE variable=window complete dim=2  // a beat is one memory word
    number sums[CONFIG::pe];
#pragma HLS ARRAY_PARTITION variable=sums complete  // registers, all updated each cycle

    int row = 0;
    int bias = 0;
PIXEL:
    for (int pixel = 0; pixel < CONFIG::pixels; ++pixel) {
    GROUP:
        for (int group = 0; group < CONFIG::groups; ++group) {
        FILTER:
            for (int filter = 0; filter < FILTERS; ++filter) {
            TERM:
                for (int term = 0; term < TERMS; ++term) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between pixels
                    operand_t inputs[CONFIG::simd];
#pragma HLS ARRAY_PARTITION variable=inputs complete  // all used in one cycle
                    if (filter == 0) {
                        const beat<input_t, CONFIG::simd>& from = input.read();
                    KEEP:
                        for (int lane = 0; lane < CONFIG::simd; ++lane) {
#pragma HLS UNROLL
                            if (FILTERS > 1) {
                                window[term][lane] = from.lane[lane];
                            }
                            inputs[lane] = operand_t(load(from.lane[lane]));
                        }
                    } else {
                    RECALL:
                        for (int lane = 0; lane < CONFIG::simd; ++lane) {
#pragma HLS UNROLL
                            inputs[lane] = operand_t(load(window[term][lane]));
                        }
                    }

                    number products[CONFIG::pe];
#pragma HLS ARRAY_PARTITION variable=products complete  // all used in one cycle
                    dot_products<typename CONFIG::multiplier_t>::template sum<CONFIG, product_t>(
                        inputs, weights[row], products);

                OUTPUT:
                    for (int lane = 0; lane < CONFIG::pe; ++lane) {
#pragma HLS UNROLL
                        // One addition in the loop that is carried from cycle to cycle.
                        const number start =
                            term == 0 ? bias_of<CONFIG, number>(biases[bias][lane]) : sums[lane];
                        sums[lane] = narrow<accumulator_t>(
                            start + shifted<CONFIG>(products[lane], biases[bias][lane]));
                    }
                    row = row == FOLDS - 1 ? 0 : row + 1;

                    if (term == TERMS - 1) {
                        beat<typename CONFIG::output_t, CONFIG::pe> result;
                        HWFLOW_ONE_WORD(result)
                    RESULT:
                        for (int lane = 0; lane < CONFIG::pe; ++lane) {
#pragma HLS UNROLL
                            result.lane[lane] = requantize<typename CONFIG::requantization>(
                                accumulator_t(sums[lane]));
                        }
                        output.write(result);
                        bias = bias == CONFIG::groups * FILTERS - 1 ? 0 : bias + 1;
                    }
                }
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_MATRIX_VECTOR_H_
