// Functions of one value, and products: element by element.
#ifndef HWFLOW_ELEMENTWISE_H_
#define HWFLOW_ELEMENTWISE_H_

#include "beat.h"
#include "requantize.h"

namespace hwflow {

// Each value's entry in a table of all values.
//
// Schedule: a beat read and written each cycle.
//
// CONFIG: pixels, channels, lanes, entries, input_t, output_t; values_t, the native type of an
//         entry.
// values: the result for each bit pattern of the input, read as an unsigned number; every lane reads
//         it at once, so it is bound to a memory of many read ports.
template <typename CONFIG>
void table(hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
           hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
           const typename CONFIG::values_t (&values)[CONFIG::entries]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t input_t;
    static const int BEATS = CONFIG::pixels * (CONFIG::channels / CONFIG::lanes);
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
    static_assert(CONFIG::entries == (1 << raw<input_t>::width), "an entry for every input");
BEAT:
    for (int index = 0; index < BEATS; ++index) {
#pragma HLS PIPELINE II=1
        const beat<input_t, CONFIG::lanes>& from = input.read();
        beat<typename CONFIG::output_t, CONFIG::lanes> to;
        HWFLOW_ONE_WORD(to)
    LANE:
        for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
            to.lane[lane] = values[int(load(from.lane[lane])) & (CONFIG::entries - 1)];
        }
        output.write(to);
    }
}

// first * second, then the requantization.
//
// Schedule: a beat read from each input and a beat written, each cycle.
//
// CONFIG: pixels, channels, lanes, input0_t, input1_t, output_t, accumulator_t, requantization.
template <typename CONFIG>
void multiply(hls::stream<beat<typename CONFIG::input0_t, CONFIG::lanes> >& first,
              hls::stream<beat<typename CONFIG::input1_t, CONFIG::lanes> >& second,
              hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::accumulator_t accumulator_t;
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    static const int BEATS = CONFIG::pixels * (CONFIG::channels / CONFIG::lanes);
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
BEAT:
    for (int index = 0; index < BEATS; ++index) {
#pragma HLS PIPELINE II=1
        const beat<typename CONFIG::input0_t, CONFIG::lanes>& a = first.read();
        const beat<typename CONFIG::input1_t, CONFIG::lanes>& b = second.read();
        accumulator_t products[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=products complete
    LANE:
        for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
            products[lane] = number(load(a.lane[lane])) * number(load(b.lane[lane]));
        }
        write_requantized<typename CONFIG::requantization>(products, output);
    }
}

// Every pixel of the first stream times the only pixel of the second, channel by channel, then the
// requantization: the gate of squeeze-and-excite.
//
// Schedule: with the first pixel a beat of each input is read and one written, each cycle; after it
// a beat of the first input alone. Until the gate is there the first input waits: the FIFO before
// it holds the whole feature map where the gate is computed from that.
//
// CONFIG: pixels, channels, lanes, input0_t, input1_t, output_t, accumulator_t, requantization.
// gate: the second input, kept; declared by the caller. What it holds at the start is of no account.
template <typename CONFIG>
void scale(hls::stream<beat<typename CONFIG::input0_t, CONFIG::lanes> >& first,
           hls::stream<beat<typename CONFIG::input1_t, CONFIG::lanes> >& second,
           hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
           typename CONFIG::input1_t (&gate)[CONFIG::channels / CONFIG::lanes][CONFIG::lanes]) {
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
            beat<typename CONFIG::input1_t, CONFIG::lanes> b;
            HWFLOW_ONE_WORD(b)
            if (pixel == 0) {
                b = second.read();
            }
            const beat<typename CONFIG::input0_t, CONFIG::lanes>& a = first.read();
            accumulator_t products[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=products complete
        LANE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                const typename CONFIG::input1_t factor =
                    pixel == 0 ? b.lane[lane] : gate[fold][lane];
                if (pixel == 0) {
                    gate[fold][lane] = factor;
                }
                products[lane] = number(load(a.lane[lane])) * number(load(factor));
            }
            write_requantized<typename CONFIG::requantization>(products, output);
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_ELEMENTWISE_H_
