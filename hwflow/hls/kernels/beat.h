// Beats, and the passage between ap_int registers and native integers.
//
// Every stream of a project carries beats: `N` channels of one pixel as raw integers. A pixel of C
// channels is C/N beats, the low channels first; pixels follow row by row. Arithmetic is written on
// native integers that are certainly wide enough: HLS narrows them to the bits that matter, because
// operands come from ap_int registers and results go back into them; a C++ compiler vectorises
// them.
#ifndef HWFLOW_BEAT_H_
#define HWFLOW_BEAT_H_

#include "ap_int.h"
#include "hls_stream.h"

// Vivado HLS has to be told that a struct travels as one word; Vitis HLS does so for every stream.
#define HWFLOW_PRAGMA(text) _Pragma(#text)
#ifdef __VITIS_HLS__
#define HWFLOW_ONE_WORD(variable)
#else
#define HWFLOW_ONE_WORD(variable) HWFLOW_PRAGMA(HLS DATA_PACK variable = variable)
#endif

namespace hwflow {

// Iterations between the write of a word into a line buffer and the first read of it.
static const int WRITE_TO_READ = 3;

// Some channels of one pixel.
template <typename T, int N>
struct beat {
    T lane[N];
};

// The narrowest native signed integer of at least BITS bits, the sign included.
template <int BYTES_LOG2>
struct native_of_bytes;
template <>
struct native_of_bytes<0> {
    typedef signed char type;
};
template <>
struct native_of_bytes<1> {
    typedef short type;
};
template <>
struct native_of_bytes<2> {
    typedef int type;
};
template <>
struct native_of_bytes<3> {
    typedef long long type;
};

// For storing operands.
template <int BITS>
struct operand {
    static_assert(BITS <= 64, "a value needs more than 64 bits");
    typedef typename native_of_bytes<(BITS > 32 ? 3 : BITS > 16 ? 2 : BITS > 8 ? 1 : 0)>::type type;
};

// For computing: int, or long long.
template <int BITS>
struct native {
    static_assert(BITS <= 64, "a value needs more than 64 bits");
    typedef typename native_of_bytes<(BITS > 32 ? 3 : 2)>::type type;
};

// What a raw integer type is: its width, its sign, and the bits of a signed type that holds it.
template <typename T>
struct raw;
template <int WIDTH>
struct raw<ap_int<WIDTH> > {
    static const int width = WIDTH;
    static const bool is_signed = true;
    static const int bits = WIDTH;
};
template <int WIDTH>
struct raw<ap_uint<WIDTH> > {
    static const int width = WIDTH;
    static const bool is_signed = false;
    static const int bits = WIDTH + 1;
};

template <typename NATIVE>
struct loader;
template <>
struct loader<int> {
    template <typename T>
    static int load(const T& value) {
#pragma HLS INLINE
        return value.to_int();
    }
};
template <>
struct loader<long long> {
    template <typename T>
    static long long load(const T& value) {
#pragma HLS INLINE
        return value.to_int64();
    }
};

template <typename NATIVE>
struct make_unsigned;
template <>
struct make_unsigned<int> {
    typedef unsigned int type;
};
template <>
struct make_unsigned<long long> {
    typedef unsigned long long type;
};

// The native integer in a register.
template <typename T>
inline typename native<raw<T>::bits>::type load(const T& value) {
#pragma HLS INLINE
    return loader<typename native<raw<T>::bits>::type>::load(value);
}

// A native integer that holds what a register of type T would: the register is then as narrow.
template <typename T, typename NATIVE>
inline NATIVE narrow(NATIVE value) {
#pragma HLS INLINE
    typedef typename make_unsigned<NATIVE>::type pattern;
    static const int SPARE = 8 * int(sizeof(NATIVE)) - raw<T>::width;
    return raw<T>::is_signed ? NATIVE(pattern(value) << SPARE) >> SPARE
                             : NATIVE((pattern(value) << SPARE) >> SPARE);
}

// Bits needed to write a positive constant.
template <unsigned long long VALUE>
struct bit_length {
    static const int value = 1 + bit_length<(VALUE >> 1)>::value;
};
template <>
struct bit_length<0> {
    static const int value = 0;
};

}  // namespace hwflow

#endif  // HWFLOW_BEAT_H_
