// The window of each output pixel, cut from a stream of input pixels.
#ifndef HWFLOW_SLIDING_WINDOW_H_
#define HWFLOW_SLIDING_WINDOW_H_

#include "beat.h"
#include "dilation.h"

namespace hwflow {

// Emits, for each output pixel, for each fold of channels, for each kernel row and column, one beat
// of `lanes` channels; padding beats are made here. Input that no window needs is still consumed.
//
// Schedule: every iteration first may emit the next beat, then may read one. It emits if the beat
// is padding, or was read at least WRITE_TO_READ iterations ago; it reads if input is left and the
// slot that the beat takes is not needed by the window being emitted or by a later one. All this
// follows from counters, never from how full a stream is. CONFIG::iterations is the number of
// iterations that emit everything and read everything.
//
// CONFIG: in_height, in_width, in_channels, kernel_height, kernel_width, stride_height,
//         stride_width, pad_top, pad_left, out_height, out_width, lanes, value_t, pad_value,
//         buffer_pixels (at least those from a window's first tap to its last), iterations; may
//         have dilation_height and dilation_width.
// buffer: a ring of buffer_pixels pixels, declared by the caller, who makes a beat one memory word
//         with one read and one write port. What it holds at the start is of no account.
template <typename CONFIG>
void sliding_window(
    hls::stream<beat<typename CONFIG::value_t, CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::value_t, CONFIG::lanes> >& output,
    typename CONFIG::value_t (
        &buffer)[CONFIG::buffer_pixels * (CONFIG::in_channels / CONFIG::lanes)][CONFIG::lanes]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::value_t value_t;
    static const int FOLDS = CONFIG::in_channels / CONFIG::lanes;
    static const int ROW = CONFIG::in_width * FOLDS;  // all distances are counted in beats
    static const int INPUT = CONFIG::in_height * ROW;
    static const int RING = CONFIG::buffer_pixels * FOLDS;
    static const int TAP_HEIGHT = dilation<CONFIG>::height;  // from one tap to the next
    static const int TAP_WIDTH = dilation<CONFIG>::width;
    static const int REACH_HEIGHT = (CONFIG::kernel_height - 1) * TAP_HEIGHT + 1;
    static const int REACH_WIDTH = (CONFIG::kernel_width - 1) * TAP_WIDTH + 1;
    static_assert(CONFIG::in_channels % CONFIG::lanes == 0, "lanes must divide the channels");
    static_assert(CONFIG::buffer_pixels >= (REACH_HEIGHT - 1) * CONFIG::in_width + REACH_WIDTH,
                  "the line buffer must hold a window");

    // From a window's first beat to that of the next, along a row and at the end of a row.
    static const int STEP = CONFIG::stride_width * FOLDS;
    static const int RETURN =
        CONFIG::stride_height * ROW - (CONFIG::out_width - 1) * CONFIG::stride_width * FOLDS;
    static const int STEP_SLOTS = STEP % RING;
    static const int RETURN_SLOTS = (RETURN % RING + RING) % RING;
    static const int START = -CONFIG::pad_top * ROW - CONFIG::pad_left * FOLDS;
    static const int START_SLOT = (START % RING + RING) % RING;

    int read_count = 0;
    int write_slot = 0;
    int arrived[WRITE_TO_READ];  // the count of beats read, some iterations ago
#pragma HLS ARRAY_PARTITION variable=arrived complete  // a shift register
RESET:
    for (int age = 0; age < WRITE_TO_READ; ++age) {
#pragma HLS UNROLL
        arrived[age] = 0;
    }

    int out_x = 0;
    int out_y = 0;
    int top = -CONFIG::pad_top;  // input coordinates of the window's corner
    int left = -CONFIG::pad_left;
    int corner = START;            // its place in the input,
    int corner_slot = START_SLOT;  // and in the ring
    int fold = 0;
    int tap_y = 0;  // rows and columns of the tap from the corner,
    int tap_x = 0;
    int offset = 0;  // and beats

ITERATION:
    for (int iteration = 0; iteration < CONFIG::iterations; ++iteration) {
#pragma HLS PIPELINE II=1
// A word is read WRITE_TO_READ iterations after it was written, or later.
#pragma HLS DEPENDENCE variable=buffer inter RAW distance=3 true
        const bool more_output = out_y != CONFIG::out_height;

        // The oldest beat that this window or a later one needs.
        int oldest;
        if (!more_output || top >= CONFIG::in_height) {
            oldest = INPUT;
        } else if (top < 0) {
            oldest = 0;  // the next row of windows may begin in the same input row
        } else if (left < 0) {
            oldest = corner - left * FOLDS;
        } else if (left > CONFIG::in_width) {
            oldest = corner - (left - CONFIG::in_width) * FOLDS;
        } else {
            oldest = corner;
        }

        const int y = top + tap_y;
        const int x = left + tap_x;
        const bool inside = y >= 0 && y < CONFIG::in_height && x >= 0 && x < CONFIG::in_width;
        const bool emits =
            more_output && (!inside || corner + offset + fold < arrived[WRITE_TO_READ - 1]);
        const bool reads = read_count < INPUT && read_count < oldest + RING;

        if (emits) {
            int slot = corner_slot + offset;
            slot = (slot >= RING ? slot - RING : slot) + fold;
            beat<value_t, CONFIG::lanes> tap;
            HWFLOW_ONE_WORD(tap)
        EMIT:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                tap.lane[lane] = inside ? buffer[slot][lane] : value_t(CONFIG::pad_value);
            }
            output.write(tap);

            offset += TAP_WIDTH * FOLDS;
            tap_x += TAP_WIDTH;
            if (tap_x == CONFIG::kernel_width * TAP_WIDTH) {
                tap_x = 0;
                offset += TAP_HEIGHT * ROW - CONFIG::kernel_width * TAP_WIDTH * FOLDS;
                tap_y += TAP_HEIGHT;
                if (tap_y == CONFIG::kernel_height * TAP_HEIGHT) {
                    tap_y = 0;
                    offset = 0;
                    if (++fold == FOLDS) {
                        fold = 0;
                        const bool row_ends = ++out_x == CONFIG::out_width;
                        corner += row_ends ? RETURN : STEP;
                        corner_slot += row_ends ? RETURN_SLOTS : STEP_SLOTS;
                        corner_slot = corner_slot >= RING ? corner_slot - RING : corner_slot;
                        left = row_ends ? -CONFIG::pad_left : left + CONFIG::stride_width;
                        if (row_ends) {
                            out_x = 0;
                            ++out_y;
                            top += CONFIG::stride_height;
                        }
                    }
                }
            }
        }

    AGE:
        for (int age = WRITE_TO_READ - 1; age > 0; --age) {
#pragma HLS UNROLL
            arrived[age] = arrived[age - 1];
        }
        if (reads) {
            const beat<value_t, CONFIG::lanes>& pixel = input.read();
        STORE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                buffer[write_slot][lane] = pixel.lane[lane];
            }
            write_slot = write_slot == RING - 1 ? 0 : write_slot + 1;
            ++read_count;
        }
        arrived[0] = read_count;
    }
}

}  // namespace hwflow

#endif  // HWFLOW_SLIDING_WINDOW_H_
