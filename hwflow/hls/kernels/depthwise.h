// Depthwise convolution: each input channel feeds `multiplier` output channels of its own.
#ifndef HWFLOW_DEPTHWISE_H_
#define HWFLOW_DEPTHWISE_H_

#include "beat.h"
#include "multipliers.h"
#include "requantize.h"
#include "weights.h"

namespace hwflow {

// For each pixel and each output channel c * multiplier + m: bias + sum over the taps of
// weight * input * 2**shift, then the requantization; the shift is product_shift plus the channel's
// own. `pe` channels side by side, `parallel` taps of each a cycle.
//
// Schedule: one iteration a cycle without a gap, in the order pixel, input fold, part of its
// output, taps. The input beats of a fold are read during its first part and kept for the others; an
// output beat is written in the last iteration of a part. So a pixel takes
// (channels * multiplier / pe) * (taps / parallel) cycles.
//
// CONFIG: pixels, taps, parallel (divides the taps), channels, multiplier, pe (divides the
//         channels), input_t, output_t, accumulator_t, multiplier_t (of multipliers.h),
//         weight_width, product_shift, shift_bits, requantization.
// input:  for each pixel, for each fold of pe channels, for each `parallel` taps: a beat, tap by tap
//         (what sliding_window emits for one tap, parallel_window for all).
// weights: rows in the order of the schedule, tap by tap with pe weights each. The caller declares
//         them (and the biases) and makes a row one memory word.
template <typename CONFIG, typename word_t, int FOLDS, int WORDS, typename bias_t>
void depthwise(
    hls::stream<beat<typename CONFIG::input_t, CONFIG::parallel * CONFIG::pe> >& input,
    hls::stream<beat<typename CONFIG::output_t, CONFIG::pe> >& output,
    const word_t (&weights)[FOLDS][WORDS],
    const bias_t (&biases)[CONFIG::channels * CONFIG::multiplier / CONFIG::pe][CONFIG::pe]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t input_t;
    typedef typename CONFIG::accumulator_t accumulator_t;
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    typedef typename native<raw<input_t>::bits + CONFIG::weight_width>::type product_t;
    typedef typename operand<raw<input_t>::bits>::type operand_t;

    static const int INPUT_FOLDS = CONFIG::channels / CONFIG::pe;
    static const int LANES = CONFIG::parallel * CONFIG::pe;
    static const int STEPS = CONFIG::taps / CONFIG::parallel;
    static_assert(CONFIG::taps % CONFIG::parallel == 0, "parallel must divide the taps");
    static_assert(CONFIG::channels % CONFIG::pe == 0, "pe must divide the channels");
    static_assert(FOLDS == INPUT_FOLDS * CONFIG::multiplier * STEPS,
                  "one row of weights a cycle");

    input_t window[STEPS][LANES];  // the beats of a fold, for a multiplier above 1
#pragma HLS ARRAY_RESHAPE variable=window complete dim=2  // a beat is one memory word
    number sums[CONFIG::pe];
#pragma HLS ARRAY_PARTITION variable=sums complete  // registers, all updated each cycle

    int row = 0;
    int bias = 0;
PIXEL:
    for (int pixel = 0; pixel < CONFIG::pixels; ++pixel) {
    FOLD:
        for (int fold = 0; fold < INPUT_FOLDS; ++fold) {
        PART:
            for (int part = 0; part < CONFIG::multiplier; ++part) {
            TAP:
                for (int step = 0; step < STEPS; ++step) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between pixels
                    operand_t inputs[LANES];
#pragma HLS ARRAY_PARTITION variable=inputs complete  // all used in one cycle
                    if (part == 0) {
                        const beat<input_t, LANES>& from = input.read();
                    KEEP:
                        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                            if (CONFIG::multiplier > 1) {
                                window[step][lane] = from.lane[lane];
                            }
                            inputs[lane] = operand_t(load(from.lane[lane]));
                        }
                    } else {
                    RECALL:
                        for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                            inputs[lane] = operand_t(load(window[step][lane]));
                        }
                    }

                OUTPUT:
                    for (int lane = 0; lane < CONFIG::pe; ++lane) {
#pragma HLS UNROLL
                        const int channel = (part * CONFIG::pe + lane) / CONFIG::multiplier;
                        number products = 0;
                    PRODUCT:
                        for (int tap = 0; tap < CONFIG::parallel; ++tap) {
#pragma HLS UNROLL
                            products += product_of<product_t>(
                                inputs[tap * CONFIG::pe + channel],
                                weight_lane<CONFIG>(weights[row], tap * CONFIG::pe + lane),
                                typename CONFIG::multiplier_t());
                        }
                        const number start =
                            step == 0 ? bias_of<CONFIG, number>(biases[bias][lane]) : sums[lane];
                        sums[lane] = narrow<accumulator_t>(
                            start + shifted<CONFIG>(products, biases[bias][lane]));
                    }
                    row = row == FOLDS - 1 ? 0 : row + 1;

                    if (step == STEPS - 1) {
                        beat<typename CONFIG::output_t, CONFIG::pe> result;
                        HWFLOW_ONE_WORD(result)
                    RESULT:
                        for (int lane = 0; lane < CONFIG::pe; ++lane) {
#pragma HLS UNROLL
                            result.lane[lane] = requantize<typename CONFIG::requantization>(
                                accumulator_t(sums[lane]));
                        }
                        output.write(result);
                        bias = bias == INPUT_FOLDS * CONFIG::multiplier - 1 ? 0 : bias + 1;
                    }
                }
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_DEPTHWISE_H_
