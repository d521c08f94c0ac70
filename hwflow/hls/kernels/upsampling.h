// Upsampling by whole factors: pixels repeated, or interpolated between their neighbours.
#ifndef HWFLOW_UPSAMPLING_H_
#define HWFLOW_UPSAMPLING_H_

#include "beat.h"
#include "requantize.h"

namespace hwflow {

// Every pixel factor_width times along its row, every row factor_height times.
//
// Schedule: a beat written each cycle; one read with the first copy of each pixel in the first copy
// of its row.
//
// CONFIG: in_height, in_width, channels, lanes, factor_height, factor_width, input_t, output_t
//         (holds every input).
// row: the row that is repeated, a word a beat.
// pixel: the pixel that is repeated, a word a fold; for fewer than four folds it should be registers.
//        Both are declared by the caller; what they hold at the start is of no account.
template <typename CONFIG>
void upsample_nearest(
    hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
    typename CONFIG::input_t (
        &row)[CONFIG::in_width * (CONFIG::channels / CONFIG::lanes)][CONFIG::lanes],
    typename CONFIG::input_t (&pixel)[CONFIG::channels / CONFIG::lanes][CONFIG::lanes]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t value_t;
    static const int FOLDS = CONFIG::channels / CONFIG::lanes;
    static const int OUT_HEIGHT = CONFIG::in_height * CONFIG::factor_height;
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");
    int row_copy = 0;
ROW:
    for (int y = 0; y < OUT_HEIGHT; ++y) {
    COLUMN:
        for (int x = 0; x < CONFIG::in_width; ++x) {
        COPY:
            for (int copy = 0; copy < CONFIG::factor_width; ++copy) {
            FOLD:
                for (int fold = 0; fold < FOLDS; ++fold) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN  // the pipeline never drains between rows
// A word that is written is read again after all folds of a pixel, or in the next copy of the row.
#pragma HLS DEPENDENCE variable=pixel inter RAW distance=4 true
#pragma HLS DEPENDENCE variable=row inter RAW distance=4 true
                    const int place = x * FOLDS + fold;
                    beat<value_t, CONFIG::lanes> from;
                    HWFLOW_ONE_WORD(from)
                    const bool reads = row_copy == 0 && copy == 0;
                    if (reads) {
                        from = input.read();
                    }
                    beat<typename CONFIG::output_t, CONFIG::lanes> to;
                    HWFLOW_ONE_WORD(to)
                LANE:
                    for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                        value_t value;
                        if (reads) {
                            value = from.lane[lane];
                            pixel[fold][lane] = value;
                            row[place][lane] = value;
                        } else if (row_copy == 0) {
                            value = pixel[fold][lane];
                        } else {
                            value = row[place][lane];
                        }
                        to.lane[lane] = load(value);
                    }
                    output.write(to);
                    if (fold == FOLDS - 1 && copy == CONFIG::factor_width - 1 &&
                        x == CONFIG::in_width - 1) {
                        row_copy = row_copy == CONFIG::factor_height - 1 ? 0 : row_copy + 1;
                    }
                }
            }
        }
    }
}

// The weights of bilinear interpolation along one axis. The output's rows between the centres of
// two input rows make a group; the first group lies above the first centre, the last below the last.
template <int FACTOR>
struct interpolation {
    static const bool is_odd = FACTOR % 2 == 1;
    static const int unit = is_odd ? FACTOR : 2 * FACTOR;  // what the two weights add up to
    static const int first = (FACTOR + 1) / 2;             // rows of the first group
    // The weight of the lower row, for each row of a group.
    static int weight(int index) {
#pragma HLS INLINE
        return is_odd ? index + 1 : 2 * index + 1;
    }
};

// Bilinear interpolation with half-pixel centres and a repeated border: sums in units of
// interpolation<factor_height>::unit * interpolation<factor_width>::unit, then the requantization.
//
// Schedule: the beats of the first row are read, one a cycle. From then on a beat is written each
// cycle; the first output row of each group also reads the next input row, a beat for each first
// column of a group of columns.
//
// CONFIG: in_height, in_width, channels, lanes, factor_height, factor_width, iterations, input_t,
//         output_t, accumulator_t, vertical_t (holds the sums of two rows), requantization.
// rows: three rows: two between which is interpolated, and the one that is read.
// columns: of the two columns between which is interpolated, the sums of their rows; for fewer than
//          four folds they should be registers. Both are declared by the caller; what they hold at
//          the start is of no account.
template <typename CONFIG>
void upsample_bilinear(
    hls::stream<beat<typename CONFIG::input_t, CONFIG::lanes> >& input,
    hls::stream<beat<typename CONFIG::output_t, CONFIG::lanes> >& output,
    typename CONFIG::input_t (
        &rows)[3][CONFIG::in_width * (CONFIG::channels / CONFIG::lanes)][CONFIG::lanes],
    typename CONFIG::vertical_t (&columns)[2][CONFIG::channels / CONFIG::lanes][CONFIG::lanes]) {
#pragma HLS INLINE  // the layer's own function is the process
    typedef typename CONFIG::input_t value_t;
    typedef typename CONFIG::accumulator_t accumulator_t;
    typedef typename CONFIG::vertical_t vertical_t;
    typedef typename native<raw<accumulator_t>::bits + 1>::type number;
    typedef interpolation<CONFIG::factor_height> vertical;
    typedef interpolation<CONFIG::factor_width> horizontal;
    static const int FOLDS = CONFIG::channels / CONFIG::lanes;
    static const int ROW = CONFIG::in_width * FOLDS;
    static const int OUT_WIDTH = CONFIG::in_width * CONFIG::factor_width;
    static_assert(CONFIG::channels % CONFIG::lanes == 0, "lanes must divide the channels");

    int row_group = 0;  // the lower of the input rows between which the output row lies
    int row_index = 0;  // of the output row in its group
    int upper = 0;      // where the two rows stand, and the one that is read
    int lower = 0;
    int next = 1;
    int out_x = 0;
    int column_group = 0;
    int column_index = 0;
    int fold = 0;
    int place = 0;  // of the beat in an input row

ITERATION:
    for (int iteration = 0; iteration < CONFIG::iterations; ++iteration) {
#pragma HLS PIPELINE II=1
// A row is read as a whole before it is interpolated; a column's sums are used a pixel later.
#pragma HLS DEPENDENCE variable=rows inter RAW distance=4 true
#pragma HLS DEPENDENCE variable=columns inter RAW distance=4 true
        const bool begins = iteration < ROW;
        const bool is_column = column_index == 0;
        const bool reads = begins || (row_index == 0 && row_group < CONFIG::in_height - 1 &&
                                      is_column && column_group < CONFIG::in_width);
        const int slot = begins ? 0 : next;
        const int target = begins ? iteration : place;
        if (!begins) {
            const int row_weight = vertical::weight(row_index);
            const int column_weight = horizontal::weight(column_index);
            beat<typename CONFIG::output_t, CONFIG::lanes> to;
            HWFLOW_ONE_WORD(to)
        LANE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                const value_t first = rows[0][place][lane];
                const value_t second = rows[1][place][lane];
                const value_t third = rows[2][place][lane];
                const value_t above = upper == 0 ? first : upper == 1 ? second : third;
                const value_t below = lower == 0 ? first : lower == 1 ? second : third;
                const vertical_t sum = number(load(above)) * (vertical::unit - row_weight) +
                                       number(load(below)) * row_weight;
                const vertical_t before = columns[1][fold][lane];
                const vertical_t left =
                    !is_column ? columns[0][fold][lane] : column_group == 0 ? sum : before;
                const vertical_t right = is_column ? sum : before;
                if (is_column) {
                    columns[0][fold][lane] = left;
                    columns[1][fold][lane] = right;
                }
                const accumulator_t total =
                    number(load(left)) * (horizontal::unit - column_weight) +
                    number(load(right)) * column_weight;
                to.lane[lane] = requantize<typename CONFIG::requantization>(total);
            }
            output.write(to);
        }
        if (reads) {
            const beat<value_t, CONFIG::lanes>& from = input.read();
        STORE:
            for (int lane = 0; lane < CONFIG::lanes; ++lane) {
#pragma HLS UNROLL
                rows[slot][target][lane] = from.lane[lane];
            }
        }
        if (!begins) {
            if (++fold < FOLDS) {
                ++place;
            } else {
                fold = 0;
                place -= FOLDS - 1;
                const int size = column_group == 0 ? horizontal::first : CONFIG::factor_width;
                if (++out_x == OUT_WIDTH) {
                    out_x = 0;
                    place = 0;
                    column_group = 0;
                    column_index = 0;
                    if (++row_index ==
                        (row_group == 0 ? vertical::first : CONFIG::factor_height)) {
                        row_index = 0;
                        ++row_group;
                        upper = lower;
                        if (row_group < CONFIG::in_height) {
                            lower = next;
                            next = next == 2 ? 0 : next + 1;
                        }
                    }
                } else if (++column_index == size) {
                    column_index = 0;
                    ++column_group;
                    place += column_group < CONFIG::in_width ? FOLDS : 0;
                }
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_UPSAMPLING_H_
