// Machine words in which the types of ap_int.h and ap_fixed.h compute.
//
// A pattern is an unsigned word of at least as many bits as a value needs, the value's sign extended
// through it. Sums, differences, products and logic are the same on patterns for signed and
// unsigned values, and never overflow in the sense of C++.
#ifndef HWFLOW_NATIVE_WORD_H_
#define HWFLOW_NATIVE_WORD_H_

#include <type_traits>

#include "wide.h"

namespace ap_native {

template <bool CONDITION, typename T = void>
using enable = typename std::enable_if<CONDITION, T>::type;

constexpr int greater(int a, int b) { return a > b ? a : b; }
constexpr int lesser(int a, int b) { return a < b ? a : b; }

// log2 of the bytes of a word of `bits` bits; 5 for more than 128 bits.
constexpr int size_class(int bits) {
    return bits <= 8 ? 0 : bits <= 16 ? 1 : bits <= 32 ? 2 : bits <= 64 ? 3 : bits <= 128 ? 4 : 5;
}

template <int CLASS, bool SIGNED, int BITS>
struct native_integer {
    typedef wide<(BITS + 63) / 64> type;
};
#define HWFLOW_NATIVE_INTEGER(CLASS, NAME)         \
    template <int BITS>                            \
    struct native_integer<CLASS, true, BITS> {     \
        typedef signed NAME type;                  \
    };                                             \
    template <int BITS>                            \
    struct native_integer<CLASS, false, BITS> {    \
        typedef unsigned NAME type;                \
    };
HWFLOW_NATIVE_INTEGER(0, char)
HWFLOW_NATIVE_INTEGER(1, short)
HWFLOW_NATIVE_INTEGER(2, int)
HWFLOW_NATIVE_INTEGER(3, long long)
HWFLOW_NATIVE_INTEGER(4, __int128)
#undef HWFLOW_NATIVE_INTEGER

// The type that a value of WIDTH bits is kept in.
template <int WIDTH, bool SIGNED>
struct storage {
    typedef typename native_integer<size_class(WIDTH), SIGNED, WIDTH>::type type;
};

// The type of patterns of at least BITS bits.
template <int BITS>
struct word {
    typedef typename native_integer<greater(size_class(BITS), 2), false, BITS>::type type;
};

template <typename U>
struct signed_word;
template <>
struct signed_word<unsigned> {
    typedef int type;
};
template <>
struct signed_word<unsigned long long> {
    typedef long long type;
};
template <>
struct signed_word<unsigned __int128> {
    typedef __int128 type;
};

template <typename U>
constexpr int bits_of() {
    return 8 * int(sizeof(U));
}

// A kept value as a pattern, shortened or extended; SIGNED tells how wide ones are extended.
template <bool SIGNED, typename U, typename T>
struct to_pattern {
    static U of(T value) { return U(value); }
};
template <bool SIGNED, int N, typename T>
struct to_pattern<SIGNED, wide<N>, T> {
    static wide<N> of(T value) {
        const unsigned __int128 extended = (unsigned __int128)(value);
        return wide<N>::filled((unsigned long long)extended, (unsigned long long)(extended >> 64),
                               SIGNED && value < T(0));
    }
};
template <bool SIGNED, typename U, int N>
struct to_pattern<SIGNED, U, wide<N> > {
    static U of(const wide<N>& value) {
        return U((unsigned __int128)value.limb[1] << 64 | value.limb[0]);
    }
};
template <bool SIGNED, int N, int M>
struct to_pattern<SIGNED, wide<N>, wide<M> > {
    static wide<N> of(const wide<M>& value) { return wide<N>::resized(value, SIGNED); }
};

template <typename U>
inline bool top_bit(const U& pattern) {
    return bool(pattern >> (bits_of<U>() - 1) & U(1));
}

// A pattern divided by 2**count, rounded down; `count` is below the bits of the pattern.
template <typename U>
inline U shifted_down(const U& pattern, int count) {
    return U(typename signed_word<U>::type(pattern) >> count);
}
template <int N>
inline wide<N> shifted_down(const wide<N>& pattern, int count) {
    return top_bit(pattern) ? ~(~pattern >> count) : pattern >> count;
}

// The low WIDTH bits of a pattern, sign extended again or not.
template <int WIDTH, bool SIGNED, typename U>
inline U wrapped(const U& pattern) {
    static_assert(bits_of<U>() >= WIDTH, "the pattern holds the value");
    constexpr int SPARE = bits_of<U>() - WIDTH;
    return SPARE == 0 ? pattern
           : SIGNED   ? shifted_down(U(pattern << SPARE), SPARE)
                      : U(pattern << SPARE) >> SPARE;
}

// The same as a kept value.
template <int WIDTH, bool SIGNED, typename T>
struct keeper {
    template <typename U>
    static T keep(const U& pattern) {
        return WIDTH == bits_of<T>() ? T(pattern) : T(wrapped<WIDTH, SIGNED>(pattern));
    }
    template <int N>
    static T keep(const wide<N>& pattern) {
        typedef typename word<WIDTH>::type narrow;
        return keep(to_pattern<SIGNED, narrow, wide<N> >::of(pattern));
    }
};
template <int WIDTH, bool SIGNED, int M>
struct keeper<WIDTH, SIGNED, wide<M> > {
    template <int N>
    static wide<M> keep(const wide<N>& pattern) {
        return wrapped<WIDTH, SIGNED>(wide<M>::resized(pattern, SIGNED));
    }
};

// The value of the low WIDTH bits of a pattern, as it is kept.
template <int WIDTH, bool SIGNED, typename U>
inline typename storage<WIDTH, SIGNED>::type kept(const U& pattern) {
    return keeper<WIDTH, SIGNED, typename storage<WIDTH, SIGNED>::type>::keep(pattern);
}

// 2**exponent - 1, for an exponent from 0 to the bits of the pattern.
template <typename U>
inline U ones(int exponent) {
    return exponent == 0 ? U(0) : U(~U(0)) >> (bits_of<U>() - exponent);
}

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_WORD_H_
