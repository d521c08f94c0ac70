// Integers of any width: what ap_int and ap_uint are made of.
#ifndef HWFLOW_NATIVE_INTEGER_H_
#define HWFLOW_NATIVE_INTEGER_H_

#include <cstring>
#include <string>
#include <utility>

#include "quantization.h"
#include "real.h"
#include "word.h"

template <int WIDTH>
struct ap_int;
template <int WIDTH>
struct ap_uint;

typedef signed long long ap_slong;
typedef unsigned long long ap_ulong;

namespace ap_native {

static const int WIDEST = 4096;

template <int WIDTH, int INTEGER_BITS, bool SIGNED, ap_q_mode ROUNDING, ap_o_mode OVERFLOW,
          int SATURATED>
struct fixed;

// The public type of a width and a sign.
template <int WIDTH, bool SIGNED>
struct public_integer {
    typedef ap_int<WIDTH> type;
};
template <int WIDTH>
struct public_integer<WIDTH, false> {
    typedef ap_uint<WIDTH> type;
};

// Width and sign of C++'s own integers, and of enumerations as they are promoted.
template <typename T, bool IS_ENUMERATION = std::is_convertible<T, int>::value && std::is_enum<T>::value>
struct own_integer {
    static const bool valid = std::is_integral<T>::value;
    static const int width = std::is_same<T, bool>::value ? 1 : 8 * int(sizeof(T));
    static const bool is_signed = std::is_signed<T>::value;
};
template <typename T>
struct own_integer<T, true> : own_integer<decltype(+std::declval<T>()), false> {};

template <typename OWNER>
struct range_reference;
template <typename OWNER>
struct bit_reference;
template <typename A, typename B>
struct concatenation;

// What can be read as an integer: its width, its sign, and its value.
template <typename T, typename = void>
struct as_integer {
    static const bool valid = false;
    static const bool is_ours = false;
};

// An integer of WIDTH bits modulo 2**WIDTH, kept in the narrowest native integer, sign extended.
template <int WIDTH, bool SIGNED>
struct integer {
    static_assert(WIDTH >= 1 && WIDTH <= WIDEST, "ap_int and ap_uint have 1 to 4096 bits");
    static const int width = WIDTH;
    static const bool is_signed = SIGNED;
    typedef typename storage<WIDTH, SIGNED>::type value_type;
    typedef typename word<WIDTH>::type pattern_type;
    typedef typename public_integer<WIDTH, SIGNED>::type public_type;
    typedef typename std::conditional<SIGNED, ap_slong, ap_ulong>::type native_type;

    value_type V;

    integer() = default;

    // Anything that is an integer: the low bits. One of C++'s own comes by value, for it may be a
    // static constant that is defined nowhere.
    template <typename T, typename = enable<as_integer<T>::is_ours> >
    integer(const T& other) : V(converted(other)) {}
    template <typename T, typename = enable<own_integer<T>::valid>, typename = void>
    integer(T other) : V(converted(other)) {}
    integer(double value) { V = kept_real(value, 52); }
    integer(float value) { V = kept_real(double(value), 23); }

    // The integer part, toward zero.
    template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
    integer(const fixed<W, I, S, Q, O, N>& other) {
        *this = integer(other.to_ap_int_base());
    }

    // Digits with a sign and a prefix: 0x1f, -0b10, 0o17, 12; the radix is 2, 8, 10 or 16.
    integer(const char* text, signed char radix = 0) { V = parsed(text, radix); }

    static integer from_pattern(const pattern_type& pattern) {
        integer result;
        result.V = kept<WIDTH, SIGNED>(pattern);
        return result;
    }

    // The value as a pattern of type U.
    template <typename U>
    U pattern() const {
        return to_pattern<SIGNED, U, value_type>::of(V);
    }
    pattern_type pattern() const { return pattern<pattern_type>(); }

    // Beyond 64 bits the low ones.
    operator native_type() const { return native_type(to_int64()); }
    native_type native_value() const { return native_type(to_int64()); }
    bool to_bool() const { return native_value() != 0; }
    char to_char() const { return char(to_int64()); }
    signed char to_schar() const { return (signed char)(to_int64()); }
    unsigned char to_uchar() const { return (unsigned char)(to_int64()); }
    short to_short() const { return short(to_int64()); }
    unsigned short to_ushort() const { return (unsigned short)(to_int64()); }
    int to_int() const { return int(pattern<unsigned>()); }
    unsigned to_uint() const { return pattern<unsigned>(); }
    long to_long() const { return long(to_int64()); }
    unsigned long to_ulong() const { return (unsigned long)(to_int64()); }
    ap_slong to_int64() const { return ap_slong(pattern<unsigned long long>()); }
    ap_ulong to_uint64() const { return pattern<unsigned long long>(); }
    float to_float() const { return float(native_value()); }
    double to_double() const { return double(native_value()); }

    int length() const { return WIDTH; }
    bool is_zero() const { return pattern() == pattern_type(0); }
    bool iszero() const { return is_zero(); }
    bool sign() const { return SIGNED && top_bit(pattern()); }
    int countLeadingZeros() const {
        if (WIDTH <= 64) {
            const unsigned long long low = (unsigned long long)(unsigned_pattern());
            return low == 0 ? WIDTH : __builtin_clzll(low) - (64 - WIDTH);
        }
        int count = 0;
        while (count < WIDTH && !test(WIDTH - 1 - count)) {
            ++count;
        }
        return count;
    }

    bool test(int index) const { return bool(pattern() >> index & pattern_type(1)); }
    bool get_bit(int index) const { return test(index); }
    void set_bit(int index, bool value) {
        const pattern_type bit = pattern_type(1) << index;
        *this = from_pattern(value ? pattern() | bit : pattern() & ~bit);
    }
    void set(int index, bool value = true) { set_bit(index, value); }
    void clear(int index) { set_bit(index, false); }
    void invert(int index) { set_bit(index, !test(index)); }
    void b_not() { *this = ~*this; }

    integer& reverse() { return *this = bits(0, WIDTH - 1); }
    integer& lrotate(int count) {
        const pattern_type low = unsigned_pattern();
        return *this = count == 0 ? *this : from_pattern(low << count | low >> (WIDTH - count));
    }
    integer& rrotate(int count) { return lrotate(count == 0 ? 0 : WIDTH - count); }

    // Bits `high` down to `low` as an unsigned number; in reverse order if `high` is below `low`.
    integer<WIDTH, false> bits(int high, int low) const {
        typedef integer<WIDTH, false> result_t;
        if (high >= low) {
            return result_t::from_pattern(unsigned_pattern() >> low &
                                          ones<pattern_type>(high - low + 1));
        }
        result_t result(0);
        for (int index = 0; index <= low - high; ++index) {
            result.set_bit(index, test(low - index));
        }
        return result;
    }
    template <typename T>
    void set_bits(int high, int low, T other) {
        const integer<WIDTH, false> value(other);
        if (high < low) {
            for (int index = 0; index <= low - high; ++index) {
                set_bit(low - index, value.test(index));
            }
        } else {
            const pattern_type mask = ones<pattern_type>(high - low + 1) << low;
            *this = from_pattern((pattern() & ~mask) | (value.pattern() << low & mask));
        }
    }

    range_reference<integer> range(int high, int low) { return {*this, high, low}; }
    range_reference<const integer> range(int high, int low) const { return {*this, high, low}; }
    range_reference<integer> range() { return {*this, WIDTH - 1, 0}; }
    range_reference<const integer> range() const { return {*this, WIDTH - 1, 0}; }
    range_reference<integer> operator()(int high, int low) { return {*this, high, low}; }
    range_reference<const integer> operator()(int high, int low) const {
        return {*this, high, low};
    }
    bit_reference<integer> operator[](int index) { return {*this, index}; }
    bool operator[](int index) const { return test(index); }
    bit_reference<integer> bit(int index) { return {*this, index}; }
    bool bit(int index) const { return test(index); }
    template <typename T>
    concatenation<integer&, T&> concat(T& low) {
        return {*this, low};
    }

    bool and_reduce() const { return unsigned_pattern() == ones<pattern_type>(WIDTH); }
    bool nand_reduce() const { return !and_reduce(); }
    bool or_reduce() const { return !is_zero(); }
    bool nor_reduce() const { return is_zero(); }
    bool xor_reduce() const {
        bool odd = false;
        for (int index = 0; index < WIDTH; ++index) {
            odd = odd != test(index);
        }
        return odd;
    }
    bool xnor_reduce() const { return !xor_reduce(); }

    public_type operator+() const { return *this; }
    typename public_integer<greater(WIDTH, 1 + SIGNED) + 1, true>::type operator-() const {
        return integer<1, false>(0) - *this;
    }
    public_type operator~() const {
        return from_pattern(~pattern());
    }
    bool operator!() const { return is_zero(); }

    integer& operator++() { return *this = *this + integer<1, false>(1); }
    integer& operator--() { return *this = *this - integer<1, false>(1); }
    public_type operator++(int) {
        const integer before = *this;
        ++*this;
        return before;
    }
    public_type operator--(int) {
        const integer before = *this;
        --*this;
        return before;
    }

#define HWFLOW_ASSIGNMENT(SIGN)                     \
    template <typename T>                           \
    integer& operator SIGN##=(T other) {            \
        return *this = integer(*this SIGN other);   \
    }
    HWFLOW_ASSIGNMENT(+)
    HWFLOW_ASSIGNMENT(-)
    HWFLOW_ASSIGNMENT(*)
    HWFLOW_ASSIGNMENT(/)
    HWFLOW_ASSIGNMENT(%)
    HWFLOW_ASSIGNMENT(&)
    HWFLOW_ASSIGNMENT(|)
    HWFLOW_ASSIGNMENT(^)
    HWFLOW_ASSIGNMENT(<<)
    HWFLOW_ASSIGNMENT(>>)
#undef HWFLOW_ASSIGNMENT

    // In radix 2, 8, 10 or 16; a leading zero tells that the first digit is no sign.
    std::string to_string(signed char radix = 2, bool with_sign = SIGNED) const;

private:
    template <typename T>
    static value_type converted(const T& other) {
        typedef as_integer<T> source;
        typedef typename storage<source::width, source::is_signed>::type source_type;
        typedef typename word<greater(WIDTH, source::width)>::type wide_type;
        return kept<WIDTH, SIGNED>(
            to_pattern<source::is_signed, wide_type, source_type>::of(source::value(other)));
    }

    // The WIDTH bits without the sign's extension.
    pattern_type unsigned_pattern() const { return wrapped<WIDTH, false>(pattern()); }

    // The reference rounds toward zero from the bits of the mantissa: see real.h.
    static value_type kept_real(double value, int mantissa_bits) {
        return kept<WIDTH, SIGNED>(truncated_real<pattern_type>(value, mantissa_bits, WIDTH));
    }

    static value_type parsed(const char* text, int radix) {
        const bool is_negative = *text == '-';
        const char* digit = text + (*text == '-' || *text == '+');
        if (digit[0] == '0' && digit[1] != '\0' && std::strchr("bBoOxXdD", digit[1])) {
            const char kind = char(digit[1] | 0x20);
            const int told = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
            // In hexadecimal digits 0b and 0d are numbers.
            if (radix == 0 || radix == told) {
                radix = told;
                digit += 2;
            }
        }
        radix = radix == 0 ? 10 : radix;
        pattern_type value(0);
        for (; *digit != '\0'; ++digit) {
            const int lower = *digit | 0x20;
            const unsigned number = unsigned(lower >= 'a' ? lower - 'a' + 10 : *digit - '0');
            value = pattern_type(value * pattern_type(unsigned(radix)) + pattern_type(number));
        }
        return kept<WIDTH, SIGNED>(is_negative ? pattern_type(pattern_type(0) - value) : value);
    }
};

// --- what can be read as an integer -------------------------------------------------------------

template <typename T>
struct as_integer<T, enable<own_integer<T>::valid> > {
    static const bool valid = true;
    static const bool is_ours = false;
    static const int width = own_integer<T>::width;
    static const bool is_signed = own_integer<T>::is_signed;
    static typename storage<width, is_signed>::type value(T other) { return other; }
};

template <int WIDTH, bool SIGNED>
struct integer_source {
    static const bool valid = true;
    static const bool is_ours = true;
    static const int width = WIDTH;
    static const bool is_signed = SIGNED;
    static const typename storage<WIDTH, SIGNED>::type& value(const integer<WIDTH, SIGNED>& other) {
        return other.V;
    }
};
template <int WIDTH, bool SIGNED>
struct as_integer<integer<WIDTH, SIGNED>, void> : integer_source<WIDTH, SIGNED> {};
template <int WIDTH>
struct as_integer<ap_int<WIDTH>, void> : integer_source<WIDTH, true> {};
template <int WIDTH>
struct as_integer<ap_uint<WIDTH>, void> : integer_source<WIDTH, false> {};

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_INTEGER_H_
