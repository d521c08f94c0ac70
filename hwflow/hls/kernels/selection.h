// Channels of a pixel in another order, or some of them.
#ifndef HWFLOW_SELECTION_H_
#define HWFLOW_SELECTION_H_

#include "beat.h"

namespace hwflow {

// Iterations between the last beat of a pixel read and the first beat written of it.
static const int SELECTION_LAG = 2;

// Lane l of output beat b is lane `lane_of[b][l]` of input beat `beat_of[b][l]` of the same pixel.
// Input beats that no output needs are still consumed.
//
// Schedule: a pixel takes STEPS iterations, as many as the more of its input beats and its output
// beats. While one pixel is read, the one before it is written, SELECTION_LAG iterations late, so
// that a word has been stored for three iterations before it is recalled.
//
// CONFIG: pixels, in_channels, out_channels, lanes (divides both), buffer_pixels (a pixel is not
//         overwritten before it is written out: 2 + SELECTION_LAG / STEPS, rounded up), input_t,
//         output_t (holds every input that is selected).
// buffer: the last pixels, once for each output lane, so that every lane recalls a beat of its own;
//         declared by the caller, who makes a beat one memory word and parts the copies. What it
//         holds at the start is of no account.
template <typename CONFIG, typename beat_index, typename lane_index, int OUT_FOLDS>
void select_channels(
    hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
    const beat_index (&beat_of)[OUT_FOLDS][CONFIG::lanes],
    const lane_index (&lane_of)[OUT_FOLDS][CONFIG::lanes],
    typename CONFIG::input_t (
        &buffer)[CONFIG::lanes][CONFIG::buffer_pixels * (CONFIG::in_channels / CONFIG::lanes)]
                [CONFIG::lanes]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t input_t;
    static const int IN_FOLDS = CONFIG::in_channels / CONFIG::lanes;
    static const int STEPS = IN_FOLDS > OUT_FOLDS ? IN_FOLDS : OUT_FOLDS;
    static const int RING = CONFIG::buffer_pixels * IN_FOLDS;
    static_assert(CONFIG::in_channels % CONFIG::lanes == 0 &&
                      CONFIG::out_channels == OUT_FOLDS * CONFIG::lanes,
                  "lanes must divide the channels on both sides");
    static_assert((CONFIG::buffer_pixels - 2) * STEPS >= SELECTION_LAG,
                  "a pixel must stay until it is written");

    int write_step = 0;  // of the pixel that is read
    int write_slot = 0;
    int read_step = 0;  // of the pixel that is written out
    int read_slot = 0;

ITERATION:
    for (int iteration = 0;
         iteration < CONFIG::pixels * STEPS + SELECTION_LAG + OUT_FOLDS; ++iteration) {
#pragma HLS PIPELINE II=1
// A word is recalled SELECTION_LAG + 1 iterations after it was stored, or later.
#pragma HLS DEPENDENCE variable=buffer inter RAW distance=3 true
        if (iteration >= STEPS + SELECTION_LAG) {
            if (read_step < OUT_FOLDS) {
                beat<typename CONFIG::output_t, CONFIG::lanes> chosen;
                HWFLOW_ONE_WORD(chosen)
            CHOOSE:
                for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                    chosen.lane[lane] = buffer[lane][read_slot + beat_of[read_step][lane]]
                                              [lane_of[read_step][lane]];
                }
                output.write(chosen);
            }
            if (++read_step == STEPS) {
                read_step = 0;
                read_slot = read_slot == RING - IN_FOLDS ? 0 : read_slot + IN_FOLDS;
            }
        }
        if (iteration < CONFIG::pixels * STEPS) {
            if (write_step < IN_FOLDS) {
                const beat<input_t, CONFIG::lanes>& pixel = input.read();
            COPY:
                for (int copy = 0; copy < CONFIG::lanes; ++copy) {
#pragma HLS UNROLL
                STORE:
                    for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                        buffer[copy][write_slot + write_step][lane] = pixel.lane[lane];
                    }
                }
            }
            if (++write_step == STEPS) {
                write_step = 0;
                write_slot = write_slot == RING - IN_FOLDS ? 0 : write_slot + IN_FOLDS;
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_SELECTION_H_
