// Output heads: what is made of the logits of a pixel.
#ifndef HWFLOW_HEADS_H_
#define HWFLOW_HEADS_H_

#include "beat.h"

namespace hwflow {

// The k greatest channels of each pixel, the greatest first, equal ones by their index: their
// indices or their values. With k = 1 the arg-max.
//
// Schedule: a beat read each cycle; one of k lanes written with the last of a pixel.
//
// CONFIG: pixels, channels, lanes, k, gives_values, input_t, output_t.
template <typename CONFIG>
void top_k(hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
           hls::stream<beat<typename CONFIG::output_t, CONFIG::k> >& output) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t input_t;
    typedef typename native<raw<input_t>::bits>::type number;
    static const int FOLDS = CONFIG::channels / CONFIG::lanes;
    static const int INDEX_BITS = bit_length<(unsigned long long)(CONFIG::channels)>::value;
    typedef ap_uint<INDEX_BITS> index_t;
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
    static_assert(CONFIG::k <= CONFIG::channels, "there are not so many channels");
    input_t values[CONFIG::k];
    index_t indices[CONFIG::k];
#pragma HLS ARRAY_PARTITION variable=values complete   // registers: the best so far, in order
#pragma HLS ARRAY_PARTITION variable=indices complete
PIXEL:
    for (int pixel = 0; pixel < CONFIG::pixels; ++pixel) {
    FOLD:
        for (int fold = 0; fold < FOLDS; ++fold) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between pixels
            const beat<input_t, CONFIG::lanes>& from = input.read();
        LANE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                const int seen = fold * CONFIG::lanes + lane;
                input_t value = from.lane[lane];
                index_t index = seen;
                bool placed = false;  // what was there moves down by one
            PLACE:
                for (int place = 0; place < CONFIG::k; ++place) {
#pragma HLS UNROLL
                    placed = placed || place >= seen ||
                             number(load(value)) > number(load(values[place]));
                    if (placed) {
                        const input_t lower_value = values[place];
                        const index_t lower_index = indices[place];
                        values[place] = value;
                        indices[place] = index;
                        value = lower_value;
                        index = lower_index;
                    }
                }
            }
            if (fold == FOLDS - 1) {
                beat<typename CONFIG::output_t, CONFIG::k> to;
                HWFLOW_ONE_WORD(to)
            RESULT:
                for (int place = 0; place < CONFIG::k; ++place) {
#pragma HLS UNROLL
                    to.lane[place] =
                        CONFIG::gives_values ? load(values[place]) : load(indices[place]);
                }
                output.write(to);
            }
        }
    }
}

// Each channel's share of a pixel's exponentials: table[greatest - value] * 2**fraction_bits / sum,
// rounded to nearest, ties to even.
//
// Schedule: three passes over the channels of a pixel, a channel a cycle: they are read and the
// greatest is found; the exponentials are looked up and added; the shares are divided and written.
//
// CONFIG: pixels, channels, lanes (1), entries, fraction_bits, input_t, output_t, exponential_t,
//         sum_t, values_t (the native type of an entry).
// logits, exponentials: of one pixel, declared by the caller; for fewer than four channels they
//         should be registers. What they hold at the start is of no account.
// table: of distances; beyond its end the last entry.
template <typename CONFIG>
void softmax(hls::stream<beat<typename CONFIG::input_t, 1> >& input,
             hls::stream<beat<typename CONFIG::output_t, 1> >& output,
             typename CONFIG::input_t (&logits)[CONFIG::channels][1],
             typename CONFIG::exponential_t (&exponentials)[CONFIG::channels][1],
             const typename CONFIG::values_t (&table)[CONFIG::entries]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t input_t;
    typedef typename native<raw<input_t>::bits + 1>::type number;
    typedef typename CONFIG::exponential_t exponential_t;
    typedef typename CONFIG::sum_t sum_t;
    static const int SHARE_BITS = raw<sum_t>::bits + CONFIG::fraction_bits + 1;
    typedef typename native<SHARE_BITS>::type share;
    static_assert(CONFIG::lanes == 1, "a channel a cycle");
    input_t greatest = 0;
    sum_t sum = 0;
PIXEL:
    for (int pixel = 0; pixel < CONFIG::pixels; ++pixel) {
    PASS:
        for (int pass = 0; pass < 3; ++pass) {
        CHANNEL:
            for (int channel = 0; channel < CONFIG::channels; ++channel) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between passes
// What one pass writes is read by the next.
#pragma HLS DEPENDENCE variable=logits inter RAW distance=4 true
#pragma HLS DEPENDENCE variable=exponentials inter RAW distance=4 true
                if (pass == 0) {
                    const beat<input_t, 1>& from = input.read();
                    const input_t value = from.lane[0];
                    logits[channel][0] = value;
                    if (channel == 0 || number(load(value)) > number(load(greatest))) {
                        greatest = value;
                    }
                } else if (pass == 1) {
                    const number distance =
                        number(load(greatest)) - number(load(logits[channel][0]));
                    const number last = CONFIG::entries - 1;
                    const exponential_t found = table[int(distance < last ? distance : last)];
                    exponentials[channel][0] = found;
                    sum = (channel == 0 ? share(0) : share(load(sum))) + share(load(found));
                } else {
                    const share whole = share(load(sum));
                    const share part = share(load(exponentials[channel][0]))
                                       << CONFIG::fraction_bits;
                    const share quotient = part / whole;
                    const share twice = 2 * (part - quotient * whole);
                    const bool up = twice > whole || (twice == whole && (quotient & 1) != 0);
                    beat<typename CONFIG::output_t, 1> to;
                    HWFLOW_ONE_WORD(to)
                    to.lane[0] = quotient + (up ? 1 : 0);
                    output.write(to);
                }
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_HEADS_H_
