// Numbers as text. Streams are templates here, so that their headers need not be read.
#ifndef HWFLOW_NATIVE_TEXT_H_
#define HWFLOW_NATIVE_TEXT_H_

#include <iosfwd>
#include <string>

#include "operators.h"

namespace ap_native {

// The digits of a pattern read as an unsigned number, none for zero.
template <typename U>
inline std::string digits_of(U value, unsigned radix) {
    std::string result;
    while (value != U(0)) {
        const unsigned digit = unsigned(U(value % U(radix)));
        result.insert(result.begin(), char(digit < 10 ? '0' + digit : (sizeof(U) > 8 ? 'A' : 'a') + (digit - 10)));
        value = U(value / U(radix));
    }
    return result;
}

inline std::string radix_prefix(int radix) {
    return radix == 2 ? "0b" : radix == 8 ? "0o" : radix == 16 ? "0x" : "";
}

template <int WIDTH, bool SIGNED>
std::string integer<WIDTH, SIGNED>::to_string(signed char radix, bool with_sign) const {
    const bool negative = sign() && (radix == 10 || (with_sign && radix != 2));
    const pattern_type magnitude =
        wrapped<WIDTH, false>(negative ? pattern_type(pattern_type(0) - pattern()) : pattern());
    std::string digits = digits_of(magnitude, unsigned(radix));
    if (digits.empty()) {
        return WIDTH <= 64 ? radix_prefix(radix) + "0" : "0";
    }
    const int bits_a_digit = radix == 16 ? 4 : radix == 8 ? 3 : 1;
    const bool looks_signed = radix == 2 || digits[0] >= (radix == 8 ? '4' : '8');
    if (radix != 10 && !negative && int(digits.size()) * bits_a_digit < WIDTH &&
        (WIDTH > 64 || looks_signed)) {
        digits.insert(0, "0");  // so that the first bit is no sign
    }
    return (negative ? "-" : "") + radix_prefix(radix) + digits;
}

// In the radix of the stream, decimal by default.
template <typename TRAITS, int WIDTH, bool SIGNED>
inline std::basic_ostream<char, TRAITS>& operator<<(std::basic_ostream<char, TRAITS>& stream,
                                                    const integer<WIDTH, SIGNED>& value) {
    typedef std::basic_ostream<char, TRAITS> stream_t;
    const bool hexadecimal = (stream.flags() & stream_t::hex) != 0;
    const bool octal = (stream.flags() & stream_t::oct) != 0;
    return stream << value.to_string(hexadecimal ? 16 : octal ? 8 : 10);
}

template <typename TRAITS, typename OWNER>
inline std::basic_ostream<char, TRAITS>& operator<<(std::basic_ostream<char, TRAITS>& stream,
                                                    const range_reference<OWNER>& value) {
    return stream << value.get();
}

template <typename TRAITS, typename OWNER>
inline std::basic_ostream<char, TRAITS>& operator<<(std::basic_ostream<char, TRAITS>& stream,
                                                    const bit_reference<OWNER>& value) {
    return stream << value.get();
}

// A word of digits, as the constructor takes it.
template <typename TRAITS, int WIDTH, bool SIGNED>
inline std::basic_istream<char, TRAITS>& operator>>(std::basic_istream<char, TRAITS>& stream,
                                                    integer<WIDTH, SIGNED>& value) {
    typedef std::basic_istream<char, TRAITS> stream_t;
    std::string text;
    stream >> text;
    const bool octal = (stream.flags() & stream_t::oct) != 0;
    const bool hexadecimal = (stream.flags() & stream_t::hex) != 0;
    value = integer<WIDTH, SIGNED>(text.c_str(), hexadecimal ? 16 : octal ? 8 : 0);
    return stream;
}

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_TEXT_H_
