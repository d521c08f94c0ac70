// Arithmetic and comparisons of fixed-point numbers with each other and with integers.
#ifndef HWFLOW_NATIVE_FIXED_OPERATORS_H_
#define HWFLOW_NATIVE_FIXED_OPERATORS_H_

#include "fixed.h"

namespace ap_native {

// Two operands of which one at least is a fixed-point number.
template <typename A, typename B,
          bool VALID = as_fixed<A>::valid && as_fixed<B>::valid &&
                       (as_fixed<A>::is_fixed || as_fixed<B>::is_fixed)>
struct fixed_operands {};

template <typename A, typename B>
struct fixed_operands<A, B, true> {
    typedef as_fixed<A> a;
    typedef as_fixed<B> b;
    static const bool s1 = a::is_signed;
    static const bool s2 = b::is_signed;
    static const bool any_sign = s1 || s2;
    static const int f1 = a::width - a::integer_bits;
    static const int f2 = b::width - b::integer_bits;
    static const int fraction = greater(f1, f2);
    static const int common =
        greater(a::integer_bits + (s2 && !s1), b::integer_bits + (s1 && !s2));

    typedef fixed<a::width, a::integer_bits, s1> first;
    typedef fixed<b::width, b::integer_bits, s2> second;
    typedef typename public_fixed<a::width + b::width, a::integer_bits + b::integer_bits,
                                  any_sign>::type product;
    typedef typename public_fixed<common + 1 + fraction, common + 1, any_sign>::type sum;
    typedef typename public_fixed<common + 1 + fraction, common + 1, true>::type difference;
    typedef typename public_fixed<common + fraction, common, any_sign>::type logic;
    typedef typename public_fixed<s2 + a::width + greater(f2, 0), s2 + a::integer_bits + f2,
                                  any_sign>::type quotient;
    typedef bool comparison;
};

#define HWFLOW_OPERATOR(SIGN, RESULT)                                                      \
    template <typename A, typename B>                                                      \
    inline typename fixed_operands<A, B>::RESULT operator SIGN(A a, B b) {                 \
        typedef typename fixed_operands<A, B>::RESULT result_t;                            \
        typedef typename result_t::pattern_type pattern_t;                                 \
        result_t result;                                                                   \
        result.V = kept<result_t::width, result_t::is_signed>(                             \
            pattern_t(result_t(a).raw().pattern() SIGN result_t(b).raw().pattern()));      \
        return result;                                                                     \
    }
HWFLOW_OPERATOR(+, sum)
HWFLOW_OPERATOR(-, difference)
HWFLOW_OPERATOR(&, logic)
HWFLOW_OPERATOR(|, logic)
HWFLOW_OPERATOR(^, logic)
#undef HWFLOW_OPERATOR

template <typename A, typename B>
inline typename fixed_operands<A, B>::product operator*(A a, B b) {
    typedef fixed_operands<A, B> both;
    typedef typename both::product result_t;
    return result_t::from_raw(typename both::first(a).raw() * typename both::second(b).raw());
}

// Toward zero; the dividend gets as many fractional bits more as the divisor has.
template <typename A, typename B>
inline typename fixed_operands<A, B>::quotient operator/(A a, B b) {
    typedef fixed_operands<A, B> both;
    static const int UP = greater(both::f2, 0);
    static const int WIDTH = greater(both::first::width + UP + (both::s2 && !both::s1),
                                     both::second::width + (both::s1 && !both::s2));
    typedef integer<WIDTH, both::any_sign> common;
    const common dividend(integer<WIDTH, both::s1>(typename both::first(a).raw()) << UP);
    const common divisor(typename both::second(b).raw());
    typedef typename both::quotient result_t;
    return result_t::from_raw(common(dividend / divisor));
}

// The raw numbers are compared as integers are, after both have the same fractional bits.
template <typename A, typename B>
struct fixed_comparison {
    typedef fixed_operands<A, B> both;
    static const int up1 = greater(both::f2 - both::f1, 0);
    static const int up2 = greater(both::f1 - both::f2, 0);
    typedef fixed<both::first::width + up1 + (up1 > 0), both::first::iwidth + (up1 > 0), both::s1>
        first;
    typedef fixed<both::second::width + up2, both::second::iwidth, both::s2> second;
};

#define HWFLOW_COMPARISON(SIGN)                                                             \
    template <typename A, typename B>                                                       \
    inline typename fixed_operands<A, B>::comparison operator SIGN(A a, B b) {               \
        typedef fixed_comparison<A, B> both;                                                \
        return typename both::first(a).raw() SIGN typename both::second(b).raw();           \
    }                                                                                       \
    template <typename A>                                                                   \
    inline enable<as_fixed<A>::is_fixed, bool> operator SIGN(const A& a, double b) {        \
        return a.to_double() SIGN b;                                                        \
    }                                                                                       \
    template <typename A>                                                                   \
    inline enable<as_fixed<A>::is_fixed, bool> operator SIGN(double a, const A& b) {        \
        return a SIGN b.to_double();                                                        \
    }
HWFLOW_COMPARISON(==)
HWFLOW_COMPARISON(!=)
HWFLOW_COMPARISON(<)
HWFLOW_COMPARISON(>)
HWFLOW_COMPARISON(<=)
HWFLOW_COMPARISON(>=)
#undef HWFLOW_COMPARISON

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_FIXED_OPERATORS_H_
