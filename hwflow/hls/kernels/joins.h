// Where streams meet, part, and change their number of lanes.
#ifndef HWFLOW_JOINS_H_
#define HWFLOW_JOINS_H_

#include "beat.h"
#include "requantize.h"

namespace hwflow {

// first * 2**shift0 + second * 2**shift1, then the requantization.
//
// Schedule: a beat read from each input and a beat written, each cycle.
//
// CONFIG: pixels, channels, lanes, input0_t, input1_t, output_t, accumulator_t, shift0, shift1,
//         requantization.
template <typename CONFIG>
void add(hls::stream<beat<typename CONFIG::input0_t, CONFIG::lanes> >& first,
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
        beat<typename CONFIG::output_t, CONFIG::lanes> to;
        HWFLOW_ONE_WORD(to)
    LANE:
        for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
            const accumulator_t sum = number(load(a.lane[lane])) * (number(1) << CONFIG::shift0) +
                                      number(load(b.lane[lane])) * (number(1) << CONFIG::shift1);
            to.lane[lane] = requantize<typename CONFIG::requantization>(sum);
        }
        output.write(to);
    }
}

// For each pixel the channels of the first stream, then those of the second, each times its
// 2**shift, then the requantization.
//
// Schedule: a beat read (of one stream) and written each cycle.
//
// CONFIG: pixels, channels0, channels1, lanes, input0_t, input1_t, output_t, accumulator_t, shift0,
//         shift1, requantization.
template <typename CONFIG>
void concatenate(hls::stream<beat<typename CONFIG::input0_t, CONFIG::lanes> >& first,
                 hls::stream<beat<typename CONFIG::input1_t, CONFIG::lanes> >& second,
                 hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::accumulator_t accumulator_t;
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    static const int FOLDS0 = CONFIG::channels0 / CONFIG::lanes;
    static const int FOLDS1 = CONFIG::channels1 / CONFIG::lanes;
    static_assert(CONFIG::channels0 % CONFIG::lanes == 0 && CONFIG::channels1 % CONFIG::lanes == 0,
                  "lanes must divide the channels of both inputs");
PIXEL:
    for (int pixel = 0; pixel < CONFIG::pixels; ++pixel) {
    FOLD:
        for (int fold = 0; fold < FOLDS0 + FOLDS1; ++fold) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between pixels
            accumulator_t values[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=values complete
            if (fold < FOLDS0) {
                const beat<typename CONFIG::input0_t, CONFIG::lanes>& from = first.read();
            FIRST:
                for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                    values[lane] = number(load(from.lane[lane])) * (number(1) << CONFIG::shift0);
                }
            } else {
                const beat<typename CONFIG::input1_t, CONFIG::lanes>& from = second.read();
            SECOND:
                for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                    values[lane] = number(load(from.lane[lane])) * (number(1) << CONFIG::shift1);
                }
            }
            beat<typename CONFIG::output_t, CONFIG::lanes> to;
            HWFLOW_ONE_WORD(to)
        RESULT:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                to.lane[lane] = requantize<typename CONFIG::requantization>(values[lane]);
            }
            output.write(to);
        }
    }
}

// The same stream twice.
//
// Schedule: a beat read, and a beat written to each output, each cycle.
//
// CONFIG: pixels, channels, lanes, input_t, output_t (holds every input).
template <typename CONFIG>
void duplicate(hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
               hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& first,
               hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& second) {
#pragma HLS INLINE  // the layer's own function is the process
    static const int BEATS = CONFIG::pixels * (CONFIG::channels / CONFIG::lanes);
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
BEAT:
    for (int index = 0; index < BEATS; ++index) {
#pragma HLS PIPELINE II=1
        const beat<typename CONFIG::input_t, CONFIG::lanes>& from = input.read();
        beat<typename CONFIG::output_t, CONFIG::lanes> to;
        HWFLOW_ONE_WORD(to)
    LANE:
        for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
            to.lane[lane] = load(from.lane[lane]);
        }
        first.write(to);
        second.write(to);
    }
}

// The same channels in beats of another size; one of the two sizes divides the other.
//
// Schedule: a cycle for each beat of the narrower side. When the input is wider, it is read with
// the first of the beats cut from it; when the output is wider, it is written with the last of the
// beats it is made of.
//
// CONFIG: pixels, channels, in_lanes, out_lanes, input_t, output_t (holds every input).
template <typename CONFIG>
void repack(hls::stream<beat<typename CONFIG::input_t, CONFIG::in_lanes> >& input,
            hls::stream<beat<typename CONFIG::output_t, CONFIG::out_lanes> >& output) {
#pragma HLS INLINE  // the layer's own function is the process
    static const bool SPLITS = CONFIG::in_lanes > CONFIG::out_lanes;
    static const int WIDE = SPLITS ? CONFIG::in_lanes : CONFIG::out_lanes;
    static const int NARROW = SPLITS ? CONFIG::out_lanes : CONFIG::in_lanes;
    static const int PARTS = WIDE / NARROW;
    static const int WIDE_BEATS = CONFIG::pixels * (CONFIG::channels / WIDE);
    static_assert(WIDE % NARROW == 0, "one number of lanes must divide the other");
    static_assert(CONFIG::channels % WIDE == 0, "lanes must divide the channels");
    typename CONFIG::input_t held[WIDE];
#pragma HLS ARRAY_PARTITION variable=held complete  // registers: a shift by NARROW lanes a cycle
BEAT:
    for (int index = 0; index < WIDE_BEATS; ++index) {
    PART:
        for (int part = 0; part < PARTS; ++part) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between beats
            // What is held moves down; wide beats enter whole, narrow ones at the top.
        SHIFT:
            for (int lane = 0; lane + NARROW < WIDE; ++lane) {
#pragma HLS UNROLL
                held[lane] = held[lane + NARROW];
            }
            if (!SPLITS || part == 0) {
                const beat<typename CONFIG::input_t, CONFIG::in_lanes>& from = input.read();
            ENTER:
                for (int lane = 0; lane < CONFIG::in_lanes; ++lane) {
#pragma HLS UNROLL
                    held[WIDE - CONFIG::in_lanes + lane] = from.lane[lane];
                }
            }
            if (SPLITS || part == PARTS - 1) {
                beat<typename CONFIG::output_t, CONFIG::out_lanes> to;
                HWFLOW_ONE_WORD(to)
            LEAVE:
                for (int lane = 0; lane < CONFIG::out_lanes; ++lane) {
#pragma HLS UNROLL
                    to.lane[lane] = load(held[lane]);
                }
                output.write(to);
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_JOINS_H_
