// Pooling: maximum and sum over windows, and the sum over the whole image.
#ifndef HWFLOW_POOLING_H_
#define HWFLOW_POOLING_H_

#include "beat.h"
#include "requantize.h"

namespace hwflow {

// The maximum of each channel over the taps of each window, `parallel` taps a cycle. Padding must be
// the least value of the type, which the windows' kernels make when their pad_value says so.
//
// Schedule: a beat read each cycle, in the order pixel, fold, taps; one written with the last tap.
//
// CONFIG: pixels, taps, parallel (divides the taps), channels, lanes, input_t, output_t (holds every
//         input).
template <typename CONFIG>
void max_pool(hls::stream<beat<typename CONFIG::input_t, CONFIG::parallel * CONFIG::lanes> >& input,
              hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t input_t;
    static const int WINDOWS = CONFIG::pixels * (CONFIG::channels / CONFIG::lanes);
    static const int STEPS = CONFIG::taps / CONFIG::parallel;
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
    static_assert(CONFIG::taps % CONFIG::parallel == 0, "parallel must divide the taps");
    typedef typename native<raw<input_t>::bits>::type number;
    number greatest[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=greatest complete  // registers, all updated each cycle
WINDOW:
    for (int window = 0; window < WINDOWS; ++window) {
    TAP:
        for (int step = 0; step < STEPS; ++step) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between windows
            const beat<input_t, CONFIG::parallel * CONFIG::lanes>& from = input.read();
        LANE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                number value = load(from.lane[lane]);
            OTHERS:
                for (int tap = 1; tap < CONFIG::parallel; ++tap) {
#pragma HLS UNROLL
                    const number other = load(from.lane[tap * CONFIG::lanes + lane]);
                    value = other > value ? other : value;
                }
                greatest[lane] = narrow<input_t>(
                    step == 0 || value > greatest[lane] ? value : greatest[lane]);
            }
            if (step == STEPS - 1) {
                beat<typename CONFIG::output_t, CONFIG::lanes> to;
                HWFLOW_ONE_WORD(to)
            RESULT:
                for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                    to.lane[lane] = greatest[lane];
                }
                output.write(to);
            }
        }
    }
}

// The sum of each channel over the taps of each window, `parallel` taps a cycle, times the factors of
// its row and column, then the requantization. For average pooling its divisor is the number of taps,
// or, where windows at the border hold fewer pixels, a common multiple of their numbers, which the
// factors reach.
//
// Schedule: a beat read each cycle, in the order pixel, fold, taps; one written with the last tap.
//
// CONFIG: pixels, taps, parallel (divides the taps), channels, lanes, input_t, output_t,
//         accumulator_t (holds every product too), requantization.
template <typename CONFIG, typename row_t, typename column_t, int ROWS, int COLUMNS>
void window_sum(
    hls::stream<beat<typename CONFIG::input_t, CONFIG::parallel * CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
    const row_t (&row_scales)[ROWS], const column_t (&column_scales)[COLUMNS]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::accumulator_t accumulator_t;
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    static const int WINDOWS = CONFIG::pixels * (CONFIG::channels / CONFIG::lanes);
    static const int STEPS = CONFIG::taps / CONFIG::parallel;
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
    static_assert(CONFIG::taps % CONFIG::parallel == 0, "parallel must divide the taps");
    number sums[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=sums complete  // registers, all updated each cycle
    int fold = 0;
    int column = 0;
    int row = 0;
WINDOW:
    for (int window = 0; window < WINDOWS; ++window) {
    TAP:
        for (int step = 0; step < STEPS; ++step) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between windows
            const beat<typename CONFIG::input_t, CONFIG::parallel * CONFIG::lanes>& from =
                input.read();
        LANE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                number sum = load(from.lane[lane]);
            OTHERS:
                for (int tap = 1; tap < CONFIG::parallel; ++tap) {
#pragma HLS UNROLL
                    sum += load(from.lane[tap * CONFIG::lanes + lane]);
                }
                const number start = step == 0 ? number(0) : sums[lane];
                sums[lane] = narrow<accumulator_t>(start + sum);
            }
            if (step == STEPS - 1) {
                const number scale = number(row_scales[row]) * number(column_scales[column]);
                accumulator_t products[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=products complete
            PRODUCT:
                for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                    products[lane] = sums[lane] * scale;
                }
                write_requantized<typename CONFIG::requantization>(products, output);
                if (++fold == CONFIG::channels / CONFIG::lanes) {
                    fold = 0;
                    if (++column == COLUMNS) {
                        column = 0;
                        row = row == ROWS - 1 ? 0 : row + 1;
                    }
                }
            }
        }
    }
}

// The same without factors.
template <typename CONFIG>
void window_sum(
    hls::stream<beat<typename CONFIG::input_t, CONFIG::parallel * CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output) {
#pragma HLS INLINE
    static const int one[1] = {1};
    window_sum<CONFIG>(input, output, one, one);
}

// The sum of each channel over all pixels, then the requantization (whose divisor is the number of
// pixels for global average pooling). One output pixel; no line buffer.
//
// Schedule: a beat read each cycle; the output beats are written while the last pixel is read.
//
// CONFIG: pixels, channels, lanes, input_t, output_t, accumulator_t, requantization.
// sums: one word for each fold of channels, declared by the caller; for fewer than four folds it
//       should be registers, because a sum is updated every channels / lanes cycles. What it holds
//       at the start is of no account.
template <typename CONFIG>
void global_sum(
    hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
    typename CONFIG::accumulator_t (&sums)[CONFIG::channels / CONFIG::lanes][CONFIG::lanes]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::accumulator_t accumulator_t;
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    static const int FOLDS = CONFIG::channels / CONFIG::lanes;
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
PIXEL:
    for (int pixel = 0; pixel < CONFIG::pixels; ++pixel) {
    FOLD:
        for (int fold = 0; fold < FOLDS; ++fold) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between pixels
            const beat<typename CONFIG::input_t, CONFIG::lanes>& from = input.read();
            accumulator_t totals[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=totals complete
        LANE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                const number start = pixel == 0 ? number(0) : number(load(sums[fold][lane]));
                totals[lane] = start + load(from.lane[lane]);
                sums[fold][lane] = totals[lane];
            }
            if (pixel == CONFIG::pixels - 1) {
                write_requantized<typename CONFIG::requantization>(totals, output);
            }
        }
    }
}

// The same, with the memory of the sums left to the tool.
template <typename CONFIG>
void global_sum(hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
                hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output) {
#pragma HLS INLINE
    typename CONFIG::accumulator_t sums[CONFIG::channels / CONFIG::lanes][CONFIG::lanes];
#pragma HLS ARRAY_RESHAPE variable=sums complete dim=2  // the sums of a beat are one word
    global_sum<CONFIG>(input, output, sums);
}

}  // namespace hwflow

#endif  // HWFLOW_POOLING_H_
