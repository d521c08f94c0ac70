// Operations on ap_int and ap_fixed, their results written out bit by bit. Compiled twice, with the
// reference types and with the fast ones; the files must be the same.
#include <cstdint>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "ap_fixed.h"
#include "ap_int.h"

static std::FILE* results;

// --- results ------------------------------------------------------------------------------------

static void put_word(std::uint64_t value) { std::fwrite(&value, sizeof value, 1, results); }
static void put(bool value) { put_word(value); }
static void put(double value) {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    put_word(bits);
}
static void put(const std::string& text) {
    put_word(text.size());
    std::fwrite(text.data(), 1, text.size(), results);
}
// Width and sign of the type, then the bits, lowest first.
template <int W, bool S>
void put(const ap_int_base<W, S>& value) {
    put_word(2 * W + S);
    for (int low = 0; low < W; low += 64) {
        std::uint64_t bits = 0;
        for (int index = low; index < W && index < low + 64; ++index) {
            bits |= std::uint64_t(value.test(index)) << (index - low);
        }
        put_word(bits);
    }
}
template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O, int N>
void put(const ap_fixed_base<W, I, S, Q, O, N>& value) {
    put_word(1000 * W + I);
    ap_int_base<W, S> bits;
    bits.V = value.V;
    put(bits);
}
static void begin(const char* name) { put(std::string(name)); }

// --- operands -----------------------------------------------------------------------------------

static std::uint64_t state = 1;
static std::uint64_t drawn() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dull;
}

// Every value of up to 8 bits (fewer for `most` of fewer); else the edges, and drawn ones.
template <int W, bool S>
std::vector<ap_int_base<W, S> > values(int most) {
    typedef ap_int_base<W, S> number;
    std::vector<number> found;
    if (W <= 8 && (1 << (W < 9 ? W : 0)) <= most) {
        for (int value = 0; value < (1 << (W < 9 ? W : 0)); ++value) {
            found.push_back(number(value));
        }
        return found;
    }
    const int edges[] = {0, 1, 2, 3, -1, -2, -3};
    for (int edge : edges) {
        found.push_back(number(edge));
    }
    number top(0);
    top.set_bit(W - 1, true);
    found.push_back(top);
    number below = ~top;
    found.push_back(below);
    for (int index = 0; int(found.size()) < most; ++index) {
        number value(0);
        const int length = 1 + int(drawn() % W);  // small and large ones
        const bool sign = drawn() % 2 != 0;
        for (int bit = 0; bit < W; ++bit) {
            value.set_bit(bit, bit < length ? drawn() % 2 != 0 : sign);
        }
        found.push_back(value);
    }
    return found;
}

// --- integers -----------------------------------------------------------------------------------

// An undefined quotient is not asked for.
#define DIVISIBLE(a, b) (!((b) == 0))

template <typename T>
struct kind_of {
    static const int width = 8 * sizeof(T);
    static const bool is_signed = T(-1) < T(0);
};
template <int W>
struct kind_of<ap_int<W> > {
    static const int width = W;
    static const bool is_signed = true;
};
template <int W>
struct kind_of<ap_uint<W> > {
    static const int width = W;
    static const bool is_signed = false;
};

// Beyond 128 bits the reference takes an unsigned number for a negative one beside a signed one;
// the fast types refuse such remainders.
template <typename A, typename B>
struct has_remainder {
    static const bool value =
        kind_of<A>::is_signed == kind_of<B>::is_signed ||
        (kind_of<A>::width <= 128 && kind_of<B>::width <= 128);
};

template <bool EXISTS>
struct remainders {
    template <typename A, typename B>
    static void binary(const A& a, const B& b) {
        put(a % b);
    }
    template <typename A, typename B>
    static void assigned(const A& a, const B& b) {
        A c = a;
        c %= b;
        put(c);
    }
};
template <>
struct remainders<false> {
    template <typename A, typename B>
    static void binary(const A&, const B&) {}
    template <typename A, typename B>
    static void assigned(const A&, const B&) {}
};

template <typename A, typename B>
void binary(const A& a, const B& b) {
    put(a + b);
    put(a - b);
    put(a * b);
    put(a & b);
    put(a | b);
    put(a ^ b);
    if (DIVISIBLE(b, b)) {
        put(a / b);
        remainders<has_remainder<A, B>::value>::binary(a, b);
    }
    put(a == b);
    put(a != b);
    put(a < b);
    put(a <= b);
    put(a > b);
    put(a >= b);
}

template <typename A, typename B>
void assigned(const A& a, const B& b) {
    A c = a;
    c += b;
    put(c);
    c = a;
    c -= b;
    put(c);
    c = a;
    c *= b;
    put(c);
    c = a;
    c &= b;
    put(c);
    c = a;
    c |= b;
    put(c);
    c = a;
    c ^= b;
    put(c);
    if (DIVISIBLE(b, b)) {
        c = a;
        c /= b;
        put(c);
        remainders<has_remainder<A, B>::value>::assigned(a, b);
    }
    c = b;
    put(c);
}

template <int W, bool S>
struct integer_of {
    typedef ap_int<W> type;
};
template <int W>
struct integer_of<W, false> {
    typedef ap_uint<W> type;
};

template <int W1, bool S1, int W2, bool S2>
void integers(int most) {
    typedef typename integer_of<W1, S1>::type A;
    typedef typename integer_of<W2, S2>::type B;
    for (const A a : values<W1, S1>(most)) {
        for (const B b : values<W2, S2>(most)) {
            binary(a, b);
            assigned(a, b);
            if (b.to_int64() > -4096 && b.to_int64() < 4096 && W2 <= 64) {
                A c = a;
                put(a << b);
                put(a >> b);
                c <<= b;
                put(c);
                c = a;
                c >>= b;
                put(c);
            }
            put(ap_int_base<W1 + W2, false>((a, b)));
        }
    }
}

template <typename A, typename C>
void with_native(const A& a, C c) {
    binary(a, c);
    assigned(a, c);
    put(c + a);
    put(c - a);
    put(c * a);
    put(c & a);
    put(c | a);
    put(c ^ a);
    put(c < a);
    put(c == a);
    put(c >= a);
    if (DIVISIBLE(a, a)) {
        put(c / a);
        remainders<has_remainder<C, A>::value>::binary(c, a);
    }
    A converted(c);
    put(converted);
    converted = c;
    put(converted);
    if (!(c > C(1000)) && !(c < C(-1000) && C(-1) < C(0))) {
        put(a << c);
        put(a >> c);
    }
}

template <int W, bool S>
void alone(int most) {
    typedef typename integer_of<W, S>::type A;
    for (const A a : values<W, S>(most)) {
        put(-a);
        put(~a);
        put(+a);
        put(!a);
        A c = a;
        put(c++);
        put(c);
        put(++c);
        put(c--);
        put(--c);
        put_word(a.to_int());
        put_word(a.to_uint());
        put_word(a.to_int64());
        put_word(a.to_uint64());
        put_word(a.to_char());
        put_word(a.to_short());
        put(a.to_bool());
        put(a.to_double());
        put(double(a.to_float()));
        put_word(std::uint64_t(a));
        put(a * 1.5);
        put(2.5 - a);
        put(a < 1.5);
        put(-0.5 >= a);
        put(a.sign());
        put(a.iszero());
        put_word(a.length());
        put_word(A(a).countLeadingZeros());
        put(a.and_reduce());
        put(a.or_reduce());
        if (W <= 64) {  // beyond, and for the parity of negative numbers, the reference errs
            put(!S && a.xor_reduce());
            put(a.nand_reduce());
            put(A(a).lrotate(W / 3));
            put(A(a).rrotate(W / 2));
        }
        put(A(a).reverse());
        put(a.to_string(10));
        put(a.to_string(2));
        put(a.to_string(8));
        put(a.to_string(16));
        put(a.to_string(16, false));
        std::ostringstream text;
        text << a;
        put(text.str());
        put(A(text.str().c_str()));
        put(A(a.to_string(16).c_str()));
        for (int high = 0; high < W; high += 1 + W / 5) {
            for (int low = 0; low < W; low += 1 + W / 4) {
                put(ap_int_base<W, false>(a.range(high, low)));
                put_word(a.range(high, low).to_uint64());
                put(a.range(high, low) + 1);
                put(a.range(high, low) == 3);
                put_word(a.range(high, low).length());
                A d = a;
                d.range(high, low) = a;
                put(d);
                d(high, low) = 5;
                put(d);
                d[low] = d[high];
                put(d);
                d.invert(high);
                put(d.test(low) != d[high]);
                put(ap_int_base<2 * W, false>((a.range(high, low), a.range(low, high))));
                put(ap_int_base<W + 1, false>((a[low], a)));
                A e = 0;
                (e.range(high, low), d.range(low, high)) = ap_int_base<2 * W, false>(a * 77);
                put(e);
                put(d);
            }
        }
        with_native(a, bool(a[0]));
        with_native(a, (signed char)(drawn()));
        with_native(a, (unsigned char)(drawn()));
        with_native(a, short(drawn()));
        with_native(a, (unsigned short)(drawn()));
        with_native(a, int(drawn()));
        with_native(a, int(drawn() % 100) - 50);
        with_native(a, unsigned(drawn()));
        with_native(a, long(drawn()));
        with_native(a, (unsigned long)(drawn()));
        with_native(a, (long long)(drawn() % 70));
        with_native(a, (unsigned long long)(drawn()));
    }
    const double reals[] = {0.0,   -0.0,  0.3,   -0.3,   0.5,   -0.5,    1.5,   -1.5,   -0.2,
                            127.9, -128,  255.5, 1e5,    -1e5,  1e9 + 7, -3e12, 1e17,   -1e19,
                            1e-9,  -1e-9, 1e300, -1e300, 1e-320, 9007199254740993.0, 0x1p70};
    for (double real : reals) {
        put(A(real));
        put(A(float(real)));
    }
}

// --- fixed-point numbers ------------------------------------------------------------------------

template <int W, int I, bool S, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP, int N = 0>
struct fixed_of {
    typedef ap_fixed<W, I, Q, O, N> type;
};
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N>
struct fixed_of<W, I, false, Q, O, N> {
    typedef ap_ufixed<W, I, Q, O, N> type;
};

template <typename T, int W, bool S>
T from_bits(const ap_int_base<W, S>& bits) {
    T result;
    result.V = bits.V;
    return result;
}

// To a format with every rounding in one overflow mode.
template <typename A, int W, int I, bool S, ap_o_mode O, int N>
void rounded(const A& a) {
    put(typename fixed_of<W, I, S, AP_RND, O, N>::type(a));
    put(typename fixed_of<W, I, S, AP_RND_ZERO, O, N>::type(a));
    put(typename fixed_of<W, I, S, AP_RND_MIN_INF, O, N>::type(a));
    put(typename fixed_of<W, I, S, AP_RND_INF, O, N>::type(a));
    put(typename fixed_of<W, I, S, AP_RND_CONV, O, N>::type(a));
    put(typename fixed_of<W, I, S, AP_TRN, O, N>::type(a));
    put(typename fixed_of<W, I, S, AP_TRN_ZERO, O, N>::type(a));
}

template <int W1, int I1, bool S1, int W2, int I2, bool S2, ap_o_mode O, int N>
void conversion(int most) {
    typedef typename fixed_of<W1, I1, S1>::type A;
    for (const ap_int_base<W1, S1>& bits : values<W1, S1>(most)) {
        rounded<A, W2, I2, S2, O, N>(from_bits<A>(bits));
    }
}

template <int W, int I, bool S, ap_o_mode O, int N>
void from_real(int most) {
    for (int index = 0; index < most; ++index) {
        const double unit = 1 / double(1 << 24);
        double real = double(std::int64_t(drawn() % (1u << 30)) - (1 << 29)) * unit;
        if (index % 3 == 0) {
            real = double(int(drawn() % 4096) - 2048) / 64;  // ties
        }
        if (index % 7 == 0) {
            real *= 1e12;
        }
        if (index % 11 == 0) {
            real *= 1e-18;
        }
        rounded<double, W, I, S, O, N>(real);
        rounded<float, W, I, S, O, N>(float(real));
    }
    rounded<double, W, I, S, O, N>(0.0);
    rounded<double, W, I, S, O, N>(1e300);
    rounded<double, W, I, S, O, N>(-1e300);
}

template <typename A, typename B>
void fixed_binary(const A& a, const B& b) {
    put(a + b);
    put(a - b);
    put(a * b);
    put(a & b);
    put(a | b);
    put(a ^ b);
    if (DIVISIBLE(b, b)) {
        put(a / b);
    }
    put(a == b);
    put(a != b);
    put(a < b);
    put(a <= b);
    put(a > b);
    put(a >= b);
}

template <typename A, typename B>
void fixed_assigned(const A& a, const B& b) {
    A c = a;
    c += b;
    put(c);
    c = a;
    c -= b;
    put(c);
    c = a;
    c *= b;
    put(c);
    if (DIVISIBLE(b, b)) {
        c = a;
        c /= b;
        put(c);
    }
    c = a;
    c &= b;
    put(c);
    c = a;
    c |= b;
    put(c);
    c = b;
    put(c);
}

template <int W1, int I1, bool S1, int W2, int I2, bool S2>
void numbers(int most) {
    typedef typename fixed_of<W1, I1, S1, AP_RND_CONV, AP_SAT>::type A;
    typedef typename fixed_of<W2, I2, S2>::type B;
    for (const ap_int_base<W1, S1>& bits : values<W1, S1>(most)) {
        const A a = from_bits<A>(bits);
        for (const ap_int_base<W2, S2>& other : values<W2, S2>(most)) {
            const B b = from_bits<B>(other);
            fixed_binary(a, b);
            fixed_assigned(a, b);
        }
    }
}

template <int W, int I, bool S, ap_q_mode Q, ap_o_mode O>
void number(int most) {
    typedef typename fixed_of<W, I, S, Q, O>::type A;
    for (const ap_int_base<W, S>& bits : values<W, S>(most)) {
        const A a = from_bits<A>(bits);
        put(-a);
        put(~a);
        put(!a);
        A c = a;
        put(A(c++));
        put(c);
        put(A(--c));
        put(a.to_double());
        put(double(a.to_float()));
        put(a == 0.5);
        put(1.25 < a);
        put(a.is_neg());
        put(a.is_zero());
        put_word(a.length());
        if (I >= 0) {
            put_word(a.to_int());
            put_word(a.to_uint());
            put_word(a.to_int64());
            put_word(a.to_uint64());
            put(ap_int<7>(a));
            put(ap_uint<40>(a));
            ap_int<9> d;
            d = a;
            put(d);
        }
        for (int count = -W - 2; count <= W + 2; ++count) {
            put(A(a << count));
            put(A(a >> count));
            c = a;
            c <<= count;
            put(c);
            put(A(a >> ap_int<12>(count)));
        }
        put(A(a << ap_uint<2>(3)));
        for (int high = 0; high < W; high += 1 + W / 5) {
            for (int low = 0; low <= high; low += 1 + W / 4) {
                put(ap_int_base<W, false>(a.range(high, low)));
                A e = a;
                e.range(high, low) = 5;
                put(e);
                e.range(high, low) = a;
                put(e);
                e[low] = e[high];
                put(e);
                put(bool(e[low]));
            }
        }
        if (I > 0 && I <= W) {
            put(a.to_string(10));
            put(a.to_string(2));
            put(a.to_string(16));
            std::ostringstream text;
            text.precision(200);
            text << a;
            put(text.str());
        }
        fixed_binary(a, int(drawn() % 16) + 1);
        fixed_binary(a, ap_uint<3>(int(drawn() % 7) + 1));
        fixed_assigned(a, short(drawn() % 9 + 1));
        put(3 - a);
        put(5 < a);
        put(ap_int<6>(9) * a);
        put(A(int(drawn())));
        put(A((unsigned char)(drawn())));
        put(A(ap_int<20>(int(drawn()))));
        c = (long long)(drawn());
        put(c);
        c = 0.375;
        put(c);
    }
}
