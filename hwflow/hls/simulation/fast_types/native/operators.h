// Arithmetic, shifts and comparisons of integers, with the widths of results that HLS gives them.
//
// Where the reference types leave the arithmetic of integers (division of a negative by a wide
// unsigned number, comparison of numbers of 32 bits and more whose signs differ) so do these: what
// counts is that a simulation is the same with either.
#ifndef HWFLOW_NATIVE_OPERATORS_H_
#define HWFLOW_NATIVE_OPERATORS_H_

#include "integer.h"
#include "references.h"

namespace ap_native {

// Operands come by value: one of C++'s own may be a static constant that is defined nowhere.

// --- widths of results --------------------------------------------------------------------------

// Two operands of which one at least is ours.
template <typename A, typename B,
          bool VALID = as_integer<A>::valid && as_integer<B>::valid &&
                       (as_integer<A>::is_ours || as_integer<B>::is_ours)>
struct operands {};

template <typename A, typename B>
struct operands<A, B, true> {
    static const int w1 = as_integer<A>::width;
    static const int w2 = as_integer<B>::width;
    static const bool s1 = as_integer<A>::is_signed;
    static const bool s2 = as_integer<B>::is_signed;
    // Wide enough for both, with a sign where one has one.
    static const int common = greater(w1 + (s2 && !s1), w2 + (s1 && !s2));
    static const bool any_sign = s1 || s2;

    typedef integer<w1, s1> first;
    typedef integer<w2, s2> second;
    typedef typename public_integer<w1 + w2, any_sign>::type product;
    typedef typename public_integer<common + 1, any_sign>::type sum;
    typedef typename public_integer<common + 1, true>::type difference;
    typedef typename public_integer<common, any_sign>::type logic;
    typedef typename public_integer<w1 + s2, any_sign>::type quotient;
    typedef typename public_integer<lesser(w1, w2 + (!s2 && s1)), s1>::type remainder;
    // If only the divisor is ours, the reference types give the widths of the inverse division.
    typedef typename std::conditional<as_integer<A>::is_ours, operands,
                                      operands<B, A, as_integer<B>::is_ours> >::type division;
    typedef bool comparison;
};

// An operand as a pattern of type U.
template <typename U, typename T>
inline U pattern_of(const T& operand) {
    typedef as_integer<T> source;
    typedef typename storage<source::width, source::is_signed>::type kept_type;
    return to_pattern<source::is_signed, U, kept_type>::of(source::value(operand));
}

// --- sums, differences, products, logic ---------------------------------------------------------

#define HWFLOW_OPERATOR(SIGN, RESULT)                                                     \
    template <typename A, typename B>                                                     \
    inline typename operands<A, B>::RESULT operator SIGN(A a, B b) {                      \
        typedef typename operands<A, B>::RESULT result_t;                                 \
        typedef typename result_t::pattern_type pattern_t;                                \
        result_t result;                                                                  \
        result.V = kept<result_t::width, result_t::is_signed>(                            \
            pattern_t(pattern_of<pattern_t>(a) SIGN pattern_of<pattern_t>(b)));           \
        return result;                                                                    \
    }
HWFLOW_OPERATOR(+, sum)
HWFLOW_OPERATOR(-, difference)
HWFLOW_OPERATOR(*, product)
HWFLOW_OPERATOR(&, logic)
HWFLOW_OPERATOR(|, logic)
HWFLOW_OPERATOR(^, logic)
#undef HWFLOW_OPERATOR

// --- division -----------------------------------------------------------------------------------

// Both operands in a common width and sign: that of the wider one.
template <typename A, typename B>
struct division {
    typedef operands<A, B> both;
    static const int width = greater(both::w1, both::w2) + both::any_sign;
    static const bool is_signed = both::w1 > both::w2   ? both::s1
                                  : both::w2 > both::w1 ? both::s2
                                                        : both::any_sign;
    typedef integer<width, is_signed> common;
    typedef typename common::pattern_type pattern_t;
    static const int pattern_bits = bits_of<pattern_t>();

    static pattern_t magnitude(const common& value) {
        return is_signed ? value.sign() ? pattern_t(pattern_t(0) - value.pattern())
                                        : value.pattern()
                         : wrapped<width, false>(value.pattern());
    }

    static common quotient(const A& a, const B& b) {
        const common first(a);
        const common second(b);
        const pattern_t found(magnitude(first) / magnitude(second));
        return from(first.sign() != second.sign() ? pattern_t(pattern_t(0) - found) : found);
    }

    // Of the first operand's sign. If that has none the second one's is not seen.
    static common remainder(const A& a, const B& b) {
        static_assert(both::s1 == both::s2 || greater(both::w1, both::w2) <= 128,
                      "the remainder of a signed and an unsigned number has at most 128 bits");
        const common first(a);
        const common second(b);
        const pattern_t divisor =
            both::s1 ? magnitude(second) : wrapped<width, false>(second.pattern());
        const pattern_t dividend =
            both::s1 ? magnitude(first) : wrapped<width, false>(first.pattern());
        const pattern_t found(dividend % divisor);
        return from(both::s1 && first.sign() ? pattern_t(pattern_t(0) - found) : found);
    }

    static common from(const pattern_t& pattern) {
        common result;
        result.V = kept<width, is_signed>(pattern);
        return result;
    }
};

template <typename A, typename B>
inline typename operands<A, B>::division::quotient operator/(A a, B b) {
    return typename operands<A, B>::quotient(division<A, B>::quotient(a, b));
}

template <typename A, typename B>
inline typename operands<A, B>::division::remainder operator%(A a, B b) {
    return typename operands<A, B>::remainder(division<A, B>::remainder(a, b));
}

// --- shifts -------------------------------------------------------------------------------------

// The first operand is ours, and the result is as wide; a negative count shifts the other way.
template <int WIDTH, bool SIGNED>
inline integer<WIDTH, SIGNED> shifted(const integer<WIDTH, SIGNED>& value, ap_ulong count,
                                      bool upward) {
    typedef typename word<WIDTH>::type pattern_t;
    const bool beyond = count >= ap_ulong(WIDTH);
    const int places = beyond ? 0 : int(count);
    const pattern_t pattern = value.pattern();
    integer<WIDTH, SIGNED> result;
    if (upward) {
        result.V = kept<WIDTH, SIGNED>(beyond ? pattern_t(0) : pattern_t(pattern << places));
    } else if (beyond) {
        result.V = kept<WIDTH, SIGNED>(value.sign() ? pattern_t(~pattern_t(0)) : pattern_t(0));
    } else {
        result.V = kept<WIDTH, SIGNED>(SIGNED ? pattern_t(shifted_down(pattern, places))
                                              : pattern_t(pattern >> places));
    }
    return result;
}

template <typename A, typename B, typename = typename operands<A, B>::comparison>
inline enable<as_integer<A>::is_ours, typename operands<A, B>::first> shifted_by(const A& a,
                                                                                 const B& b,
                                                                                 bool upward) {
    const typename operands<A, B>::second count(b);
    const bool negative = count.sign();
    const ap_ulong places = count.to_uint64();
    return shifted(typename operands<A, B>::first(a), negative ? 0 - places : places,
                   upward != negative);
}

template <typename A, typename B>
inline enable<as_integer<A>::is_ours, typename operands<A, B>::first::public_type> operator<<(
    A a, B b) {
    return shifted_by(a, b, true);
}

template <typename A, typename B>
inline enable<as_integer<A>::is_ours, typename operands<A, B>::first::public_type> operator>>(
    A a, B b) {
    return shifted_by(a, b, false);
}

// --- comparisons --------------------------------------------------------------------------------

template <typename A, typename B>
struct comparing {
    typedef operands<A, B> both;
    static const int width = greater(both::w1, both::w2) + both::any_sign;
    typedef typename word<width>::type pattern_t;
    // As in C++ a wide unsigned number makes the other one unsigned.
    static const bool narrow = both::w1 < 32 && both::w2 < 32;
    static const bool by_sign = both::s1 == both::s2 ? both::s1
                                : narrow             ? true
                                : both::s1           ? both::w2 < both::w1
                                                     : both::w1 < both::w2;

    static bool less(const A& a, const B& b) {
        return ordered(pattern_of<pattern_t>(a)) < ordered(pattern_of<pattern_t>(b));
    }

    // Signed numbers in the order of unsigned ones.
    static pattern_t ordered(const pattern_t& value) {
        return by_sign ? pattern_t(wrapped<width, false>(value) ^ pattern_t(1) << (width - 1))
                       : wrapped<width, false>(value);
    }

    static bool equal(const A& a, const B& b) {
        static const int bits = both::w1 == both::w2 ? greater(both::w1, 64)
                                                     : greater(greater(both::w1, both::w2), 32);
        typedef typename word<bits>::type equal_t;
        return wrapped<bits, false>(pattern_of<equal_t>(a)) ==
               wrapped<bits, false>(pattern_of<equal_t>(b));
    }
};

#define HWFLOW_COMPARISON(SIGN, VALUE)                                                  \
    template <typename A, typename B>                                                   \
    inline typename operands<A, B>::comparison operator SIGN(A a, B b) {                \
        return VALUE;                                                                   \
    }
HWFLOW_COMPARISON(==, (comparing<A, B>::equal(a, b)))
HWFLOW_COMPARISON(!=, (!comparing<A, B>::equal(a, b)))
HWFLOW_COMPARISON(<, (comparing<A, B>::less(a, b)))
HWFLOW_COMPARISON(>, (comparing<B, A>::less(b, a)))
HWFLOW_COMPARISON(<=, (!comparing<B, A>::less(b, a)))
HWFLOW_COMPARISON(>=, (!comparing<A, B>::less(a, b)))
#undef HWFLOW_COMPARISON

// --- with floating point numbers ----------------------------------------------------------------

template <typename A, typename R>
using with_real = enable<as_integer<A>::is_ours && std::is_floating_point<R>::value, R>;

#define HWFLOW_REAL_OPERATOR(SIGN)                                             \
    template <typename A, typename R>                                          \
    inline with_real<A, R> operator SIGN(const A& a, R b) {                    \
        return typename operands<A, int>::first(a).native_value() SIGN b;      \
    }                                                                          \
    template <typename R, typename A>                                          \
    inline with_real<A, R> operator SIGN(R a, const A& b) {                    \
        return a SIGN typename operands<A, int>::first(b).native_value();      \
    }
HWFLOW_REAL_OPERATOR(+)
HWFLOW_REAL_OPERATOR(-)
HWFLOW_REAL_OPERATOR(*)
HWFLOW_REAL_OPERATOR(/)
#undef HWFLOW_REAL_OPERATOR

#define HWFLOW_REAL_COMPARISON(SIGN)                                           \
    template <typename A, typename R, typename = with_real<A, R> >             \
    inline bool operator SIGN(const A& a, R b) {                               \
        return typename operands<A, int>::first(a).to_double() SIGN b;         \
    }                                                                          \
    template <typename R, typename A, typename = with_real<A, R>, typename = void> \
    inline bool operator SIGN(R a, const A& b) {                               \
        return a SIGN typename operands<A, int>::first(b).to_double();         \
    }
HWFLOW_REAL_COMPARISON(==)
HWFLOW_REAL_COMPARISON(!=)
HWFLOW_REAL_COMPARISON(<)
HWFLOW_REAL_COMPARISON(>)
HWFLOW_REAL_COMPARISON(<=)
HWFLOW_REAL_COMPARISON(>=)
#undef HWFLOW_REAL_COMPARISON

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_OPERATORS_H_
