// A map in another frame: rows and columns cut off, or zeros around it.
#ifndef HWFLOW_FRAME_H_
#define HWFLOW_FRAME_H_

#include "beat.h"

namespace hwflow {

// The pixels of the input that lie in the output's frame, and zeros where it has others.
//
// Schedule: one iteration a cycle for each beat of a pixel that the input or the output has, row by
// row over the rows and columns that either has. It reads where the input has the pixel and writes
// where the output has it.
//
// CONFIG: in_height, in_width, channels, lanes (divides the channels), pad_top, pad_left (of the
//         output's first row and column above and left of the input's; negative where those are cut
//         off), out_height, out_width, input_t, output_t (holds every input and zero).
template <typename CONFIG>
void frame(hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
           hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output) {
#pragma HLS INLINE  // the layer's own function is the process
    static const int FOLDS = CONFIG::channels / CONFIG::lanes;
    // Of the output's frame in the input's coordinates, and of both together.
    static const int TOP = -CONFIG::pad_top;
    static const int LEFT = -CONFIG::pad_left;
    static const int BOTTOM = TOP + CONFIG::out_height;
    static const int RIGHT = LEFT + CONFIG::out_width;
    static const int FIRST_Y = TOP < 0 ? TOP : 0;
    static const int FIRST_X = LEFT < 0 ? LEFT : 0;
    static const int LAST_Y = BOTTOM > CONFIG::in_height ? BOTTOM : CONFIG::in_height;
    static const int LAST_X = RIGHT > CONFIG::in_width ? RIGHT : CONFIG::in_width;
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
ROW:
    for (int y = FIRST_Y; y < LAST_Y; ++y) {
    COLUMN:
        for (int x = FIRST_X; x < LAST_X; ++x) {
        FOLD:
            for (int fold = 0; fold < FOLDS; ++fold) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between rows
                const bool reads =
                    y >= 0 && y < CONFIG::in_height && x >= 0 && x < CONFIG::in_width;
                beat<typename CONFIG::input_t, CONFIG::lanes> from;
                HWFLOW_ONE_WORD(from)
                if (reads) {
                    from = input.read();
                }
                if (y >= TOP && y < BOTTOM && x >= LEFT && x < RIGHT) {
                    beat<typename CONFIG::output_t, CONFIG::lanes> to;
                    HWFLOW_ONE_WORD(to)
                LANE:
                    for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                        to.lane[lane] = reads ? load(from.lane[lane]) : 0;
                    }
                    output.write(to);
                }
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_FRAME_H_
