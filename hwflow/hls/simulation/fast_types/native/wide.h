// Unsigned integers of more than 128 bits, in words of 64.
#ifndef HWFLOW_NATIVE_WIDE_H_
#define HWFLOW_NATIVE_WIDE_H_

#include <type_traits>

namespace ap_native {

// An integer modulo 2**(64 * N), the lowest word first.
template <int N>
struct wide {
    typedef unsigned long long limb_t;
    limb_t limb[N];

    wide() = default;

    // A native integer, which is never negative here.
    template <typename T, typename = typename std::enable_if<std::is_integral<T>::value>::type>
    wide(T value) {
        *this = filled(limb_t(value), 0, false);
    }

    // The two lowest words, and all ones or zeros in the others.
    static wide filled(limb_t first, limb_t second, bool is_negative) {
        wide result;
        for (int index = 0; index < N; ++index) {
            result.limb[index] = index == 0 ? first : index == 1 ? second : 0 - limb_t(is_negative);
        }
        return result;
    }

    // Shortened, or extended by the top bit (of a signed value) or by zeros.
    template <int M>
    static wide resized(const wide<M>& value, bool is_signed) {
        const limb_t fill = 0 - limb_t(is_signed && value.limb[M - 1] >> 63);
        wide result;
        for (int index = 0; index < N; ++index) {
            result.limb[index] = index < M ? value.limb[index < M ? index : 0] : fill;
        }
        return result;
    }

    explicit operator bool() const { return *this != wide(0); }
    explicit operator unsigned long long() const { return limb[0]; }
    explicit operator unsigned() const { return unsigned(limb[0]); }

    wide operator~() const {
        wide result;
        for (int index = 0; index < N; ++index) {
            result.limb[index] = ~limb[index];
        }
        return result;
    }

    wide operator<<(int count) const {
        const int words = count / 64;
        const int bits = count % 64;
        wide result;
        for (int index = N - 1; index >= 0; --index) {
            const limb_t high = index >= words ? limb[index - words] : 0;
            const limb_t low = index > words ? limb[index - words - 1] : 0;
            result.limb[index] = bits ? high << bits | low >> (64 - bits) : high;
        }
        return result;
    }

    wide operator>>(int count) const {
        const int words = count / 64;
        const int bits = count % 64;
        wide result;
        for (int index = 0; index < N; ++index) {
            const limb_t low = index + words < N ? limb[index + words] : 0;
            const limb_t high = index + words + 1 < N ? limb[index + words + 1] : 0;
            result.limb[index] = bits ? low >> bits | high << (64 - bits) : low;
        }
        return result;
    }

    friend wide operator&(wide a, const wide& b) {
        for (int index = 0; index < N; ++index) {
            a.limb[index] &= b.limb[index];
        }
        return a;
    }

    friend wide operator|(wide a, const wide& b) {
        for (int index = 0; index < N; ++index) {
            a.limb[index] |= b.limb[index];
        }
        return a;
    }

    friend wide operator^(wide a, const wide& b) {
        for (int index = 0; index < N; ++index) {
            a.limb[index] ^= b.limb[index];
        }
        return a;
    }

    friend wide operator+(const wide& a, const wide& b) {
        wide result;
        unsigned __int128 carry = 0;
        for (int index = 0; index < N; ++index) {
            carry += (unsigned __int128)a.limb[index] + b.limb[index];
            result.limb[index] = limb_t(carry);
            carry >>= 64;
        }
        return result;
    }

    friend wide operator-(const wide& a, const wide& b) { return a + ~b + wide(1); }

    friend wide operator*(const wide& a, const wide& b) {
        wide result(0);
        for (int row = 0; row < N; ++row) {
            unsigned __int128 carry = 0;
            for (int index = 0; index + row < N; ++index) {
                carry += (unsigned __int128)a.limb[row] * b.limb[index] + result.limb[row + index];
                result.limb[row + index] = limb_t(carry);
                carry >>= 64;
            }
        }
        return result;
    }

    // By the schoolbook, bit by bit; zero where the divisor is.
    friend wide operator/(const wide& a, const wide& b) { return divided(a, b, true); }
    friend wide operator%(const wide& a, const wide& b) { return divided(a, b, false); }

    friend bool operator==(const wide& a, const wide& b) {
        bool same = true;
        for (int index = 0; index < N; ++index) {
            same = same && a.limb[index] == b.limb[index];
        }
        return same;
    }

    friend bool operator!=(const wide& a, const wide& b) { return !(a == b); }

    friend bool operator<(const wide& a, const wide& b) {
        for (int index = N - 1; index >= 0; --index) {
            if (a.limb[index] != b.limb[index]) {
                return a.limb[index] < b.limb[index];
            }
        }
        return false;
    }

private:
    static wide divided(const wide& a, const wide& b, bool want_quotient) {
        wide quotient(0);
        wide remainder(0);
        for (int index = 64 * N - 1; index >= 0; --index) {
            const bool carries = remainder.limb[N - 1] >> 63 != 0;
            remainder = remainder << 1;
            remainder.limb[0] |= a.limb[index / 64] >> (index % 64) & 1;
            if (carries || !(remainder < b)) {
                remainder = remainder - b;
                quotient.limb[index / 64] |= limb_t(1) << (index % 64);
            }
        }
        return want_quotient ? quotient : remainder;
    }
};

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_WIDE_H_
