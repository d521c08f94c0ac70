// Weights that a host loads into memories at start-up, where a memory cannot be initialised.
//
// The words of all layers come through one port of the top function, layer after layer in the order
// of the data. `deal_words` stands before each layer but the last: it deals out the layer's words
// and passes the rest on. `load_rows` stands in the layer's own process, before its kernel.
#ifndef HWFLOW_LOADING_H_
#define HWFLOW_LOADING_H_

#include "beat.h"

namespace hwflow {

// A word of the load port: integers of a row of weights, the first in the lowest bits.
typedef ap_uint<64> load_word;

template <int WORDS>
inline void move_words(hls::stream<load_word>& from, hls::stream<load_word>& to) {
#pragma HLS INLINE
WORD:
    for (int word = 0; word < WORDS; ++word) {
#pragma HLS PIPELINE II=1
        const load_word moved = from.read();
        to.write(moved);
    }
}

// A process: where there is a load, its first OWN words go to the layer and the other REST on.
template <int OWN, int REST>
void deal_words(bool load, hls::stream<load_word>& words, hls::stream<load_word>& own,
                hls::stream<load_word>& rest) {
    if (load) {
        move_words<OWN>(words, own);
        move_words<REST>(words, rest);
    }
}

// Fills a memory row by row, a word a cycle. A row's words are gathered in a register that moves
// down by a word each cycle (wires, no multiplexers), and stored at once: the memory needs no
// writes of parts of a row.
template <typename word_t, int ROWS, int WORDS>
void load_rows(hls::stream<load_word>& words, word_t (&memory)[ROWS][WORDS]) {
#pragma HLS INLINE  // the layer's own function is the process
    static const int BITS = 8 * int(sizeof(word_t));
    static const int EACH = 64 / BITS;  // integers of a word
    static const int PARTS = (WORDS + EACH - 1) / EACH;
    static const int KEPT = (PARTS - 1) * EACH;
    word_t row[PARTS * EACH];
#pragma HLS ARRAY_PARTITION variable=row complete  // registers, all moved in one cycle
ROW:
    for (int index = 0; index < ROWS; ++index) {
    PART:
        for (int part = 0; part < PARTS; ++part) {
#pragma HLS PIPELINE II=1
#pragma HLS LOOP_FLATTEN
            const unsigned long long word = words.read().to_uint64();
        MOVE:
            for (int place = 0; place < KEPT; ++place) {
#pragma HLS UNROLL
                row[place] = row[place + EACH];
            }
        TAKE:
            for (int place = 0; place < EACH; ++place) {
#pragma HLS UNROLL
                row[KEPT + place] = word_t(word >> (BITS * place));
            }
            if (part == PARTS - 1) {
            STORE:
                for (int place = 0; place < WORDS; ++place) {
#pragma HLS UNROLL
                    memory[index][place] = row[place];
                }
            }
        }
    }
}

}  // namespace hwflow

#endif  // HWFLOW_LOADING_H_
