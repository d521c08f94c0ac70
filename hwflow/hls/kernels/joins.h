// Where streams meet, part, and change their number of lanes.
#ifndef HWFLOW_JOINS_H_
#define HWFLOW_JOINS_H_

#include "beat.h"
#include "requantize.h"

namespace hwflow {

// An input of a join: its channels, and the left shift that brings it to the unit of the sums.
template <int CHANNELS, int SHIFT>
struct part {
    static const int channels = CHANNELS;
    static const int shift = SHIFT;
};

// All inputs of a join, in order.
template <typename... PARTS>
struct parts {};

// Reads a beat of each input and adds it to the sums.
template <typename NUMBER, int LANES>
inline void add_parts(NUMBER (&)[LANES], parts<>) {
#pragma HLS INLINE
}
template <typename NUMBER, int LANES, typename PART, typename... PARTS, typename VALUE,
          typename... INPUTS>
inline void add_parts(NUMBER (&sums)[LANES], parts<PART, PARTS...>,
                      hls::stream<beat<VALUE, LANES> >& input, INPUTS&... others) {
#pragma HLS INLINE
    const beat<VALUE, LANES>& from = input.read();
LANE:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        sums[lane] += NUMBER(load(from.lane[lane])) * (NUMBER(1) << PART::shift);
    }
    add_parts(sums, parts<PARTS...>(), others...);
}

// The sum of all inputs, each times its 2**shift, then the requantization.
//
// Schedule: a beat read from each input and a beat written, each cycle.
//
// CONFIG: pixels, channels, lanes, output_t, accumulator_t, inputs_t (parts), requantization.
template <typename CONFIG, typename... INPUTS>
void add(hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output, INPUTS&... inputs) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::accumulator_t accumulator_t;
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    static const int BEATS = CONFIG::pixels * (CONFIG::channels / CONFIG::lanes);
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
BEAT:
    for (int index = 0; index < BEATS; ++index) {
#pragma HLS PIPELINE II=1
        number sums[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=sums complete
    START:
        for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
            sums[lane] = 0;
        }
        add_parts(sums, typename CONFIG::inputs_t(), inputs...);
        write_requantized<typename CONFIG::requantization>(sums, output);
    }
}

// Reads a beat of the input to which a fold of the joined channels belongs.
template <typename PART, typename ACCUMULATOR, int LANES, typename VALUE>
inline void take_beat(ACCUMULATOR (&values)[LANES], hls::stream<beat<VALUE, LANES> >& input) {
#pragma HLS INLINE
    typedef typename native<raw<ACCUMULATOR>::bits + 1>::type number;
    const beat<VALUE, LANES>& from = input.read();
LANE:
    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
        values[lane] = number(load(from.lane[lane])) * (number(1) << PART::shift);
    }
}
template <typename ACCUMULATOR, int LANES, typename PART, typename INPUT>
inline void take_part(int, ACCUMULATOR (&values)[LANES], parts<PART>, INPUT& input) {
#pragma HLS INLINE
    static_assert(PART::channels % LANES == 0, "lanes must divide the channels of every input");
    take_beat<PART>(values, input);
}
template <typename ACCUMULATOR, int LANES, typename PART, typename NEXT, typename... PARTS,
          typename INPUT, typename... INPUTS>
inline void take_part(int fold, ACCUMULATOR (&values)[LANES], parts<PART, NEXT, PARTS...>,
                      INPUT& input, INPUTS&... others) {
#pragma HLS INLINE
    static_assert(PART::channels % LANES == 0, "lanes must divide the channels of every input");
    static const int FOLDS = PART::channels / LANES;
    if (fold < FOLDS) {
        take_beat<PART>(values, input);
    } else {
        take_part(fold - FOLDS, values, parts<NEXT, PARTS...>(), others...);
    }
}

// For each pixel the channels of the first input, then those of the second, and so on, each times
// its 2**shift, then the requantization.
//
// Schedule: a beat read (of one stream) and written each cycle.
//
// CONFIG: pixels, channels (of all inputs), lanes, output_t, accumulator_t, inputs_t (parts),
//         requantization.
template <typename CONFIG, typename... INPUTS>
void concatenate(hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
                 INPUTS&... inputs) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::accumulator_t accumulator_t;
    static const int FOLDS = CONFIG::channels / CONFIG::lanes;
PIXEL:
    for (int pixel = 0; pixel < CONFIG::pixels; ++pixel) {
    FOLD:
        for (int fold = 0; fold < FOLDS; ++fold) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between pixels
            accumulator_t values[CONFIG::lanes];
#pragma HLS ARRAY_PARTITION variable=values complete
            take_part(fold, values, typename CONFIG::inputs_t(), inputs...);
            write_requantized<typename CONFIG::requantization>(values, output);
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
