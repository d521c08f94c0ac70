// Fixed-point numbers of any width: what ap_fixed and ap_ufixed are made of.
#ifndef HWFLOW_NATIVE_FIXED_H_
#define HWFLOW_NATIVE_FIXED_H_

#include <cmath>

#include "operators.h"
#include "quantization.h"

template <int WIDTH, int INTEGER_BITS, ap_q_mode ROUNDING = AP_TRN, ap_o_mode OVERFLOW = AP_WRAP,
          int SATURATED = 0>
struct ap_fixed;
template <int WIDTH, int INTEGER_BITS, ap_q_mode ROUNDING = AP_TRN, ap_o_mode OVERFLOW = AP_WRAP,
          int SATURATED = 0>
struct ap_ufixed;

namespace ap_native {

// The public type of a width, a binary point and a sign.
template <int WIDTH, int INTEGER_BITS, bool SIGNED>
struct public_fixed {
    typedef ap_fixed<WIDTH, INTEGER_BITS> type;
};
template <int WIDTH, int INTEGER_BITS>
struct public_fixed<WIDTH, INTEGER_BITS, false> {
    typedef ap_ufixed<WIDTH, INTEGER_BITS> type;
};

template <int WIDTH, int INTEGER_BITS, bool SIGNED, ap_q_mode ROUNDING = AP_TRN,
          ap_o_mode OVERFLOW = AP_WRAP, int SATURATED = 0>
struct fixed;

// What can be read as a fixed-point number: the numbers themselves, and integers.
template <typename T, bool IS_INTEGER = as_integer<T>::valid>
struct as_fixed {
    static const bool valid = false;
    static const bool is_fixed = false;
};
template <typename T>
struct as_fixed<T, true> {
    typedef as_integer<T> source;
    static const bool valid = true;
    static const bool is_fixed = false;
    static const int width = source::width;
    static const int integer_bits = source::width;
    static const bool is_signed = source::is_signed;
    static typename storage<width, is_signed>::type value(const T& other) {
        return source::value(other);
    }
};

// V * 2**(INTEGER_BITS - WIDTH).
//
// SATURATED: how many of the highest bits saturate in the modes AP_WRAP and AP_WRAP_SM.
template <int WIDTH, int INTEGER_BITS, bool SIGNED, ap_q_mode ROUNDING, ap_o_mode OVERFLOW,
          int SATURATED>
struct fixed {
    static_assert(WIDTH >= 1 && WIDTH <= WIDEST, "ap_fixed and ap_ufixed have 1 to 4096 bits");
    static_assert(SIGNED || OVERFLOW != AP_WRAP_SM, "ap_ufixed cannot have AP_WRAP_SM");
    static const int width = WIDTH;
    static const int iwidth = INTEGER_BITS;
    static const int fraction = WIDTH - INTEGER_BITS;
    static const bool is_signed = SIGNED;
    static const ap_q_mode qmode = ROUNDING;
    static const ap_o_mode omode = OVERFLOW;
    typedef integer<WIDTH, SIGNED> raw_type;
    typedef typename raw_type::value_type value_type;
    typedef typename raw_type::pattern_type pattern_type;

    value_type V;

    fixed() = default;

    // Any number, rounded and limited.
    template <typename T, typename = enable<as_fixed<T>::is_fixed || as_integer<T>::is_ours> >
    fixed(const T& other) : V(converted(other)) {}
    template <typename T, typename = enable<own_integer<T>::valid>, typename = void>
    fixed(T other) : V(converted(other)) {}
    fixed(double value) { V = from_real(value); }
    fixed(float value) { V = from_real(double(value)); }
    fixed(const char*) = delete;  // digits are not taken: only an integer takes them

    // The bits as an integer.
    raw_type raw() const {
        raw_type result;
        result.V = V;
        return result;
    }
    static fixed from_raw(const raw_type& value) {
        fixed result;
        result.V = value.V;
        return result;
    }
    static fixed bitsToFixed(ap_ulong bits) { return from_raw(raw_type(bits)); }
    fixed& setBits(ap_ulong bits) { return *this = bitsToFixed(bits); }

    // The integer part; toward zero, or down if not `toward_zero`.
    integer<greater(INTEGER_BITS, 1), SIGNED> to_ap_int_base(bool toward_zero = true) const {
        typedef integer<greater(INTEGER_BITS, 1), SIGNED> result_t;
        typedef typename word<greater(greater(INTEGER_BITS, WIDTH), 1)>::type wide_t;
        const wide_t all = to_pattern<SIGNED, wide_t, value_type>::of(V);
        result_t result(0);
        if (INTEGER_BITS > WIDTH) {
            result.V = kept<result_t::width, SIGNED>(wide_t(all << greater(-fraction, 0)));
        } else if (INTEGER_BITS > 0) {
            result.V = kept<result_t::width, SIGNED>(shifted_down(all, greater(fraction, 0)));
        }
        static const int CUT = lesser(greater(fraction, 0), WIDTH);
        if (toward_zero && is_neg() && (all & ones<wide_t>(CUT)) != wide_t(0)) {
            ++result;
        }
        return result;
    }

    int to_int() const { return to_ap_int_base().to_int(); }
    unsigned to_uint() const { return to_ap_int_base().to_uint(); }
    ap_slong to_int64() const { return to_ap_int_base().to_int64(); }
    ap_ulong to_uint64() const { return to_ap_int_base().to_uint64(); }
    char to_char() const { return to_ap_int_base().to_char(); }

    // Nearest, ties to even.
    double to_double() const { return double(to_real<53>()); }
    float to_float() const { return float(to_real<24>()); }

    operator long double() const { return to_double(); }
    operator double() const { return to_double(); }
    operator float() const { return to_float(); }
    operator bool() const { return !is_zero(); }
    operator char() const { return char(to_int()); }
    operator signed char() const { return (signed char)(to_int()); }
    operator unsigned char() const { return (unsigned char)(to_uint()); }
    operator short() const { return short(to_int()); }
    operator unsigned short() const { return (unsigned short)(to_uint()); }
    operator int() const { return to_int(); }
    operator unsigned() const { return to_uint(); }
    operator long() const { return long(to_int64()); }
    operator unsigned long() const { return (unsigned long)(to_uint64()); }
    operator ap_slong() const { return to_int64(); }
    operator ap_ulong() const { return to_uint64(); }

    int length() const { return WIDTH; }
    int wl() const { return WIDTH; }
    int iwl() const { return INTEGER_BITS; }
    ap_q_mode q_mode() const { return ROUNDING; }
    ap_o_mode o_mode() const { return OVERFLOW; }
    int n_bits() const { return SATURATED; }
    bool is_zero() const { return raw().is_zero(); }
    bool is_neg() const { return raw().sign(); }
    bool operator!() const { return is_zero(); }
    int countLeadingZeros() const { return raw().countLeadingZeros(); }

    // Bits, counted from the lowest one.
    bool test(int index) const { return raw().test(index); }
    void set_bit(int index, bool value) {
        raw_type bits = raw();
        bits.set_bit(index, value);
        V = bits.V;
    }
    // Counted from the binary point.
    bool get_bit(int place) const { return test(place + fraction); }
    integer<WIDTH, false> bits(int high, int low) const { return raw().bits(high, low); }
    // From another number all its bits, not the integer part.
    template <typename T>
    enable<!as_fixed<T>::is_fixed> set_bits(int high, int low, T other) {
        raw_type bits = raw();
        bits.set_bits(high, low, other);
        V = bits.V;
    }
    template <typename T>
    enable<as_fixed<T>::is_fixed> set_bits(int high, int low, T other) {
        set_bits(high, low, other.raw());
    }
    range_reference<fixed> range(int high, int low) { return {*this, high, low}; }
    range_reference<const fixed> range(int high, int low) const { return {*this, high, low}; }
    range_reference<fixed> range() { return {*this, WIDTH - 1, 0}; }
    range_reference<const fixed> range() const { return {*this, WIDTH - 1, 0}; }
    range_reference<fixed> operator()(int high, int low) { return {*this, high, low}; }
    range_reference<const fixed> operator()(int high, int low) const { return {*this, high, low}; }
    bit_reference<fixed> operator[](int index) { return {*this, index}; }
    bool operator[](int index) const { return test(index); }
    bit_reference<fixed> bit(int index) { return {*this, index}; }
    bool bit(int index) const { return test(index); }

    fixed operator+() const { return *this; }
    ap_fixed<WIDTH + 1, INTEGER_BITS + 1> operator-() const {
        typedef ap_fixed<WIDTH + 1, INTEGER_BITS + 1> result_t;
        return result_t::from_raw(typename result_t::raw_type(-raw()));
    }
    fixed<WIDTH, INTEGER_BITS, true, ROUNDING, OVERFLOW, SATURATED> getNeg() const {
        typedef fixed<WIDTH, INTEGER_BITS, true, ROUNDING, OVERFLOW, SATURATED> result_t;
        return result_t::from_raw(typename result_t::raw_type(-result_t(*this).raw()));
    }
    typename public_fixed<WIDTH, INTEGER_BITS, SIGNED>::type operator~() const {
        return public_fixed<WIDTH, INTEGER_BITS, SIGNED>::type::from_raw(~raw());
    }

    // Of the bits alone: what is shifted out is lost, neither rounded nor limited.
    template <typename T>
    fixed operator<<(T count) const {
        return from_raw(shifted_by(raw(), shift_count(count), true));
    }
    template <typename T>
    fixed operator>>(T count) const {
        return from_raw(shifted_by(raw(), shift_count(count), false));
    }
    template <int COUNT>
    fixed<WIDTH, INTEGER_BITS + COUNT, SIGNED> lshift() const {
        return fixed<WIDTH, INTEGER_BITS + COUNT, SIGNED>::from_raw(raw());
    }
    template <int COUNT>
    fixed<WIDTH, INTEGER_BITS - COUNT, SIGNED> rshift() const {
        return fixed<WIDTH, INTEGER_BITS - COUNT, SIGNED>::from_raw(raw());
    }

    fixed& operator++() { return *this = fixed(*this + fixed<fraction + 1, 1, false>(1)); }
    fixed& operator--() { return *this = fixed(*this - fixed<fraction + 1, 1, false>(1)); }
    fixed operator++(int) {
        const fixed before = *this;
        ++*this;
        return before;
    }
    fixed operator--(int) {
        const fixed before = *this;
        --*this;
        return before;
    }

#define HWFLOW_ASSIGNMENT(SIGN)                    \
    template <typename T>                          \
    fixed& operator SIGN##=(T other) {             \
        return *this = fixed(*this SIGN other);    \
    }
    HWFLOW_ASSIGNMENT(+)
    HWFLOW_ASSIGNMENT(-)
    HWFLOW_ASSIGNMENT(*)
    HWFLOW_ASSIGNMENT(/)
    HWFLOW_ASSIGNMENT(&)
    HWFLOW_ASSIGNMENT(|)
    HWFLOW_ASSIGNMENT(^)
    HWFLOW_ASSIGNMENT(<<)
    HWFLOW_ASSIGNMENT(>>)
#undef HWFLOW_ASSIGNMENT

    std::string to_string(unsigned char radix = 2, bool with_sign = SIGNED) const;

private:
    template <typename T>
    static value_type converted(const T& other) {
        typedef as_fixed<T> source;
        return quantization<source::width, source::width - source::integer_bits, source::is_signed,
                            WIDTH, fraction, SIGNED, ROUNDING, OVERFLOW,
                            SATURATED>::of(source::value(other));
    }

    template <typename T>
    static const T& shift_count(const T& count) {
        return count;
    }
    template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
    static integer<greater(I, 1), S> shift_count(const fixed<W, I, S, Q, O, N>& count) {
        return count.to_ap_int_base();
    }

    // The mantissa with its sign takes 54 bits; where its last bit is follows from the exponent.
    static value_type from_real(double value) {
        const real_parts parts(value);
        typedef quantization<54, 0, true, WIDTH, 0, SIGNED, ROUNDING, OVERFLOW, SATURATED> same;
        // Moved up as far as counts, or down until nothing but the sign is left.
        const int up = lesser(parts.exponent + fraction, WIDTH + 1);
        const int down = lesser(-(parts.exponent + fraction), 64);
        typedef quantization<54 + WIDTH + 1, 0, true, WIDTH, 0, SIGNED, ROUNDING, OVERFLOW,
                             SATURATED>
            moved;
        typedef quantization<54 + 64, 64, true, WIDTH, 0, SIGNED, ROUNDING, OVERFLOW, SATURATED>
            cut;
        if (up == 0) {
            return same::rounded(signed_mantissa<typename same::pattern_t>(parts));
        }
        if (up > 0) {
            typedef typename moved::pattern_t pattern_t;
            return moved::rounded(pattern_t(signed_mantissa<pattern_t>(parts) << up));
        }
        typedef typename cut::pattern_t pattern_t;
        return cut::rounded(pattern_t(signed_mantissa<pattern_t>(parts) << (64 - down)));
    }

    template <typename U>
    static U signed_mantissa(const real_parts& parts) {
        const U mantissa(parts.mantissa);
        return parts.is_negative ? U(U(0) - mantissa) : mantissa;
    }

    // A number of at most MANTISSA bits, exactly.
    template <int MANTISSA>
    double to_real() const {
        typedef typename word<greater(WIDTH + 1, 64)>::type wide_t;
        wide_t magnitude = raw().template pattern<wide_t>();
        const bool negative = is_neg();
        magnitude = wrapped<WIDTH + 1, false>(negative ? wide_t(wide_t(0) - magnitude) : magnitude);
        int excess = WIDTH - MANTISSA - integer<WIDTH + 1, false>::from_pattern(magnitude)
                                            .countLeadingZeros() + 1;
        int exponent = -fraction;
        if (excess > 0) {
            const bool half = bool(magnitude >> (excess - 1) & wide_t(1));
            const bool rest = (magnitude & ones<wide_t>(excess - 1)) != wide_t(0);
            const wide_t cut = magnitude >> excess;
            const bool odd = bool(cut & wide_t(1));
            magnitude = cut + wide_t(rounds_up<AP_RND_CONV>(negative, odd, half, rest));
            exponent += excess;
        }
        const double value = std::ldexp(double((unsigned long long)(magnitude)), exponent);
        return negative ? -value : value;
    }
};

template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
struct fixed_source {
    static const bool valid = true;
    static const bool is_fixed = true;
    static const int width = W;
    static const int integer_bits = I;
    static const bool is_signed = S;
    static const typename storage<W, S>::type& value(const fixed<W, I, S, Q, O, N>& other) {
        return other.V;
    }
};
template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
struct as_fixed<fixed<W, I, S, Q, O, N>, false> : fixed_source<W, I, S, Q, O, N> {};
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
struct as_fixed<ap_fixed<W, I, Q, O, N>, false> : fixed_source<W, I, true, Q, O, N> {};
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
struct as_fixed<ap_ufixed<W, I, Q, O, N>, false> : fixed_source<W, I, false, Q, O, N> {};

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_FIXED_H_
