// The window of each output pixel, all of its taps in one beat.
#ifndef HWFLOW_PARALLEL_WINDOW_H_
#define HWFLOW_PARALLEL_WINDOW_H_

#include "beat.h"
#include "dilation.h"

namespace hwflow {

// Emits, for each output pixel, for each fold of `lanes` channels, one beat with the whole window:
// kernel row by kernel row, tap by tap, lane by lane. Padding is made here.
//
// Schedule: the image is walked pixel by pixel and fold by fold, an iteration each, in rows of
// `pitch` pixels: those of the image, and as many more as rows of windows that are longer need. An
// iteration on a pixel of the image reads its beat; the iteration on the pixel on which a window
// ends, which may lie beyond the image or before it, emits that fold of the window. Nothing ever
// waits for a counter. 3x3, stride 1, padding 1, one fold, image of 3 rows of 4 pixels (the number
// of the pixel; above it, the window that ends there):
//
//   window      .  .  .  .  .  0  1  2  3  4  5  6  7  8  9 10 11
//   iteration   0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16
//   read        0  1  2  3  4  5  6  7  8  9 10 11  .  .  .  .  .
//
// A window that reaches over the right border ends on a pixel of the next row; what of it lies
// outside is not taken from the registers but is the padding.
//
//   rows     the last kernel_height - 1 rows: of each beat's place in a row one word, read and
//            written in one iteration, and next after pitch * FOLDS iterations; where taps lie
//            DOWN rows apart, DOWN times as many words, used in turn from row to row
//   recent   the last kernel_width - 1 columns of windows: registers, shifted each iteration;
//   columns  the same of each fold as a word of a memory, where that many iterations lie between
//            two that use it; where taps lie ALONG columns apart, ALONG times as many words
//
// CONFIG: in_height, in_width, in_channels, kernel_height, kernel_width, stride_height,
//         stride_width, pad_top, pad_left, out_height, out_width, lanes, value_t, pad_value,
//         pitch (at least in_width), iterations; may have dilation_height and dilation_width.
// rows:    [DOWN * in_width * FOLDS][(kernel_height - 1) * lanes], of any size for a single kernel
//          row.
// columns: [ALONG * FOLDS][(kernel_width - 1) * kernel_height * lanes], of any size for a single
//          kernel column or for WRITE_TO_READ words or fewer. The caller declares both and makes a
//          word one memory word. What they hold at the start is of no account.
template <typename CONFIG, int ROWS, int ROW_LANES, int COLUMNS, int COLUMN_LANES>
void parallel_window(
    hls::stream<beat<typename CONFIG::value_t, CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::value_t,
                     CONFIG::kernel_height * CONFIG::kernel_width * CONFIG::lanes> >& output,
    typename CONFIG::value_t (&rows)[ROWS][ROW_LANES],
    typename CONFIG::value_t (&columns)[COLUMNS][COLUMN_LANES]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::value_t value_t;
    static const int LANES = CONFIG::lanes;
    static const int FOLDS = CONFIG::in_channels / LANES;
    static const int HEIGHT = CONFIG::kernel_height;
    static const int WIDTH = CONFIG::kernel_width;
    static const int DOWN = dilation<CONFIG>::height;  // rows from one tap to the next
    static const int ALONG = dilation<CONFIG>::width;  // and columns
    static const int PITCH = CONFIG::pitch;
    static const int COLUMN = HEIGHT * LANES;  // values of one column of a window
    static const int OLDER = WIDTH - 1;        // columns that are kept
    static const int APART = ALONG * FOLDS;    // iterations from one column to the next
    static const bool IN_REGISTERS = APART <= WRITE_TO_READ;
    static const int RECENT = IN_REGISTERS && OLDER > 0 ? OLDER * APART : 1;
    static const int PLACES = DOWN * CONFIG::in_width * FOLDS;
    static_assert(CONFIG::in_channels % LANES == 0, "lanes must divide the channels");
    static_assert(PITCH >= CONFIG::in_width, "a row must hold the pixels of the image");
    static_assert(HEIGHT == 1 || DOWN * PITCH * FOLDS > WRITE_TO_READ,
                  "a word of rows must not be read before it has been written");
    static_assert(HEIGHT == 1 || (ROWS == PLACES && ROW_LANES == (HEIGHT - 1) * LANES),
                  "rows must have a word for each beat of a row");
    static_assert(IN_REGISTERS || OLDER == 0 ||
                      (COLUMNS == APART && COLUMN_LANES == OLDER * COLUMN),
                  "columns must have a word for each fold");

    // In pixels: from the end of a window to that of the next, along a row and at the end of a row.
    static const int STEP = CONFIG::stride_width;
    static const int RETURN =
        CONFIG::stride_height * PITCH - (CONFIG::out_width - 1) * CONFIG::stride_width;
    static_assert(RETURN > 0, "the pitch is too small for the windows of a row");
    static const int LAST_TOP = (CONFIG::out_height - 1) * CONFIG::stride_height - CONFIG::pad_top;
    static const int LAST_LEFT = (CONFIG::out_width - 1) * CONFIG::stride_width - CONFIG::pad_left;
    // Where the first window ends; the walk begins there if that is before the first pixel.
    static const int FIRST =
        ((HEIGHT - 1) * DOWN - CONFIG::pad_top) * PITCH + (WIDTH - 1) * ALONG - CONFIG::pad_left;
    static const int START = FIRST < 0 ? FIRST : 0;
    static const int START_X = (START % PITCH + PITCH) % PITCH;
    static const int START_Y = (START - START_X) / PITCH;

    value_t recent[RECENT][COLUMN];
#pragma HLS ARRAY_PARTITION variable=recent complete dim=0  // a shift register

    int x = START_X;  // the pixel
    int y = START_Y;
    int fold = 0;
    int slot = START_X < CONFIG::in_width ? START_X * FOLDS : 0;  // its word of rows,
    int column_slot = 0;                                          // and of columns
    int wait = FIRST - START;  // pixels until the next window ends
    int out_x = 0;
    int out_y = 0;
    int top = -CONFIG::pad_top;  // input coordinates of that window's corner
    int left = -CONFIG::pad_left;

ITERATION:
    for (int iteration = 0; iteration < CONFIG::iterations; ++iteration) {
#pragma HLS PIPELINE II=1
// A word is read WRITE_TO_READ iterations after it was written, or later.
#pragma HLS DEPENDENCE variable=rows inter RAW distance=3 true
#pragma HLS DEPENDENCE variable=columns inter RAW distance=3 true
        const bool in_row = x < CONFIG::in_width;
        const bool reads = in_row && y >= 0 && y < CONFIG::in_height;

        // The window that ends here, column by column: the last one is new.
        value_t window[WIDTH][COLUMN];
#pragma HLS ARRAY_PARTITION variable=window complete dim=0  // wires
    RECALL:
        for (int column = 0; column < OLDER; ++column) {
#pragma HLS UNROLL
            for (int place = 0; place < COLUMN; ++place) {
#pragma HLS UNROLL
                window[column][place] = IN_REGISTERS
                                            ? recent[(OLDER - column) * APART - 1][place]
                                            : columns[column_slot][column * COLUMN + place];
            }
        }
    ABOVE:
        for (int place = 0; place < COLUMN - LANES; ++place) {
#pragma HLS UNROLL
            window[OLDER][place] = rows[slot][place];
        }
        if (reads) {
            const beat<value_t, LANES>& pixel = input.read();
        ARRIVE:
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                window[OLDER][COLUMN - LANES + lane] = pixel.lane[lane];
            }
        } else {
        OUTSIDE:
            for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                window[OLDER][COLUMN - LANES + lane] = value_t(0);  // never looked at
            }
        }

        const bool emits = wait == 0 && out_y != CONFIG::out_height;
        if (emits) {
            beat<value_t, HEIGHT * WIDTH * LANES> taps;
            HWFLOW_ONE_WORD(taps)
        ROW:
            for (int row = 0; row < HEIGHT; ++row) {
#pragma HLS UNROLL
                // Constant for the taps that never leave the image.
                const int below = row * DOWN;  // of the corner
                const bool row_inside =
                    (below >= CONFIG::pad_top || top + below >= 0) &&
                    (LAST_TOP + below < CONFIG::in_height || top + below < CONFIG::in_height);
            TAP:
                for (int column = 0; column < WIDTH; ++column) {
#pragma HLS UNROLL
                    const int beside = column * ALONG;
                    const bool inside =
                        row_inside && (beside >= CONFIG::pad_left || left + beside >= 0) &&
                        (LAST_LEFT + beside < CONFIG::in_width || left + beside < CONFIG::in_width);
                    for (int lane = 0; lane < LANES; ++lane) {
#pragma HLS UNROLL
                        taps.lane[(row * WIDTH + column) * LANES + lane] =
                            inside ? window[column][row * LANES + lane]
                                   : value_t(CONFIG::pad_value);
                    }
                }
            }
            output.write(taps);
        }

        // What later windows need.
        if (IN_REGISTERS) {
        AGE:
            for (int age = RECENT - 1; age >= 0; --age) {
#pragma HLS UNROLL
                for (int place = 0; place < COLUMN; ++place) {
#pragma HLS UNROLL
                    recent[age][place] =
                        age == 0 ? window[OLDER][place] : recent[age > 0 ? age - 1 : 0][place];
                }
            }
        } else {
        KEEP:
            for (int column = 0; column < OLDER; ++column) {
#pragma HLS UNROLL
                for (int place = 0; place < COLUMN; ++place) {
#pragma HLS UNROLL
                    columns[column_slot][column * COLUMN + place] = window[column + 1][place];
                }
            }
            column_slot = column_slot == APART - 1 ? 0 : column_slot + 1;
        }
        if (in_row) {
        STORE:
            for (int place = 0; place < COLUMN - LANES; ++place) {
#pragma HLS UNROLL
                rows[slot][place] = window[OLDER][place + LANES];
            }
            slot = slot == PLACES - 1 ? 0 : slot + 1;
        }

        if (++fold == FOLDS) {
            fold = 0;
            if (++x == PITCH) {
                x = 0;
                ++y;
            }
            if (emits) {
                const bool row_ends = ++out_x == CONFIG::out_width;
                wait = (row_ends ? RETURN : STEP) - 1;
                left = row_ends ? -CONFIG::pad_left : left + CONFIG::stride_width;
                if (row_ends) {
                    out_x = 0;
                    ++out_y;
                    top += CONFIG::stride_height;
                }
            } else {
                --wait;
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_PARALLEL_WINDOW_H_
