// Fixed-point numbers as text.
#ifndef HWFLOW_NATIVE_FIXED_TEXT_H_
#define HWFLOW_NATIVE_FIXED_TEXT_H_

#include "fixed_operators.h"
#include "text.h"

namespace ap_native {

// All digits of the number, which are finitely many in each radix.
template <int WIDTH, int INTEGER_BITS, bool SIGNED, ap_q_mode ROUNDING, ap_o_mode OVERFLOW,
          int SATURATED>
std::string fixed<WIDTH, INTEGER_BITS, SIGNED, ROUNDING, OVERFLOW, SATURATED>::to_string(
    unsigned char radix, bool with_sign) const {
    static const int FRACTION = greater(fraction, 1);
    static const int WHOLE = greater(INTEGER_BITS, 0) + 1;
    const bool negative = is_neg() && with_sign && radix != 2;
    typedef integer<WIDTH + 1, true> shown_t;
    const shown_t shown = negative ? shown_t(-raw()) : shown_t(raw());
    typedef fixed<WIDTH + 1, INTEGER_BITS + 1, true> number_t;
    const number_t number = number_t::from_raw(shown);
    std::string text = negative ? "-" : "";
    if (INTEGER_BITS > 0) {
        text += integer<WHOLE, false>(number.to_ap_int_base(false)).to_string(radix, false);
    } else {
        text += radix_prefix(radix) + "0";
    }
    typedef integer<FRACTION + 4, false> digits_t;
    const fixed<FRACTION, 0, false> part(number);
    digits_t rest(part.raw());
    const digits_t all(integer<FRACTION, false>(-1));
    if (rest.is_zero()) {
        return text;
    }
    text += ".";
    const int step = radix == 16 ? 4 : radix == 8 ? 3 : radix == 2 ? 1 : 0;
    for (int left = FRACTION; step == 0 ? !rest.is_zero() : left > 0; left -= step) {
        rest *= radix;
        const int digit = digits_t(rest >> FRACTION).to_int();
        text += char(digit < 10 ? '0' + digit : 'a' + (digit - 10));
        rest &= all;
    }
    return radix == 16 ? text + "p0" : text;
}

// All digits if the stream's precision takes as many, else as a double.
template <typename TRAITS, int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
inline std::basic_ostream<char, TRAITS>& operator<<(std::basic_ostream<char, TRAITS>& stream,
                                                    const fixed<W, I, S, Q, O, N>& value) {
    const std::string text = value.to_string(10, S);
    const std::string::size_type first = text.find_first_of("123456789");
    if (first == std::string::npos) {
        return stream << "0";
    }
    const std::string::size_type last = text.find_last_of("123456789");
    const std::string::size_type point = text.find('.');
    const bool mixed = first < point && point < last;
    const bool tiny = point < first && first - point > 4;
    const int digits = int(last - first + 1) - (mixed ? 1 : 0);
    if (digits > int(stream.precision()) || tiny) {
        return stream << value.to_double();
    }
    return stream << text;
}

template <typename TRAITS, int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
inline std::basic_istream<char, TRAITS>& operator>>(std::basic_istream<char, TRAITS>& stream,
                                                    fixed<W, I, S, Q, O, N>& value) {
    double number = 0;
    stream >> number;
    value = number;
    return stream;
}

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_FIXED_TEXT_H_
