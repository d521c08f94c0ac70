// Weights in read-only memories.
//
// A memory is a plain array `weights[FOLDS][WORDS]`, one row for each cycle of a pixel's work, that
// a layer's file initialises statically. Weights of 8, 16 and 32 bits stand in signed integers of
// that width, one an element. Weights of any other width are packed without gaps, the first lane in
// the lowest bits, into unsigned integers of 8, 16, 32 or 64 bits. A weight of 1 bit is a sign: 0 is
// 1, and 1 is -1.
#ifndef HWFLOW_WEIGHTS_H_
#define HWFLOW_WEIGHTS_H_

#include "beat.h"

namespace hwflow {

template <typename word_t, int WIDTH, bool ONE_EACH>
struct weight_reader;

template <typename word_t, int WIDTH>
struct weight_reader<word_t, WIDTH, true> {
    template <int WORDS>
    static word_t lane(const word_t (&row)[WORDS], int index) {
#pragma HLS INLINE
        return row[index];
    }
};

template <typename word_t, int WIDTH>
struct weight_reader<word_t, WIDTH, false> {
    typedef typename operand<WIDTH>::type lane_t;
    static const int WORD_BITS = 8 * int(sizeof(word_t));
    // How many elements a lane can lie in.
    static const int PARTS = WORD_BITS % WIDTH == 0 ? 1 : 1 + (WIDTH + WORD_BITS - 2) / WORD_BITS;

    template <int WORDS>
    static lane_t lane(const word_t (&row)[WORDS], int index) {
#pragma HLS INLINE
        // The index is a constant once the lanes are unrolled: this is wiring, not a shifter.
        const int first = index * WIDTH / WORD_BITS;
        const int offset = index * WIDTH % WORD_BITS;
        unsigned long long bits = (unsigned long long)(row[first]) >> offset;
    PART:
        for (int part = 1; part < PARTS; ++part) {
#pragma HLS UNROLL
            const int place = part * WORD_BITS - offset;
            if (place < WIDTH) {
                bits |= (unsigned long long)(row[first + part]) << place;
            }
        }
        typedef typename operand<WIDTH>::type signed_t;
        static const int SPARE = 64 - WIDTH;
        return signed_t((long long)(bits << SPARE) >> SPARE);
    }
};

// The weight of one lane.
template <typename CONFIG, typename word_t, int WORDS>
inline typename operand<CONFIG::weight_width>::type weight_lane(const word_t (&row)[WORDS],
                                                                int index) {
#pragma HLS INLINE
    static const bool ONE_EACH = CONFIG::weight_width == 8 * int(sizeof(word_t)) &&
                                 word_t(-1) < word_t(0);  // signed: one lane an element
    static_assert(ONE_EACH || !(word_t(-1) < word_t(0)), "packed weights are unsigned integers");
    typedef typename operand<CONFIG::weight_width>::type lane_t;
    const lane_t lane = weight_reader<word_t, CONFIG::weight_width, ONE_EACH>::lane(row, index);
    return CONFIG::weight_width == 1 ? lane_t(2 * lane + 1) : lane;  // of a sign 0 or -1 was read
}

// The constants of an output channel stand in one integer: above, its bias in the unit of the
// accumulator; in the lowest `shift_bits` bits, by how much more than `product_shift` its products
// are shifted. Where `shift_bits` is 0 the integer is the bias and the shift is wiring.
template <typename CONFIG, typename number, typename constants_t>
inline number bias_of(constants_t constants) {
#pragma HLS INLINE
    return number(constants >> CONFIG::shift_bits);
}

template <typename CONFIG, typename number, typename constants_t>
inline number shifted(number products, constants_t constants) {
#pragma HLS INLINE
    typedef typename make_unsigned<number>::type pattern;
    static const constants_t SHIFT_MASK = (constants_t(1) << CONFIG::shift_bits) - 1;
    return number(pattern(products) << CONFIG::product_shift << (constants & SHIFT_MASK));
}

}  // namespace hwflow

#endif  // HWFLOW_WEIGHTS_H_
