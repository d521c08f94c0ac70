// Bits and ranges of bits of a value, read and written in place, and concatenations.
#ifndef HWFLOW_NATIVE_REFERENCES_H_
#define HWFLOW_NATIVE_REFERENCES_H_

#include "integer.h"

namespace ap_native {

// Bits high down to low of an integer or a fixed-point number; in reverse order if high < low.
//
// Its type does not know how many bits they are: in expressions it is as wide as its owner.
template <typename OWNER>
struct range_reference {
    static const int width = OWNER::width;
    typedef integer<width, false> value_type;
    OWNER& owner;
    int high;
    int low;

    range_reference(OWNER& owner_, int high_, int low_) : owner(owner_), high(high_), low(low_) {}
    range_reference(const range_reference&) = default;

    value_type get() const { return owner.bits(high, low); }
    operator ap_ulong() const { return get().to_uint64(); }
    range_reference& operator=(const range_reference& other) {
        owner.set_bits(high, low, other.get());
        return *this;
    }
    template <typename T>
    range_reference& operator=(T other) {
        owner.set_bits(high, low, other);
        return *this;
    }
    template <typename T>
    void set(T value) {
        owner.set_bits(high, low, value);
    }

    int length() const { return (high >= low ? high - low : low - high) + 1; }
    int to_int() const { return get().to_int(); }
    unsigned to_uint() const { return get().to_uint(); }
    long to_long() const { return get().to_long(); }
    unsigned long to_ulong() const { return get().to_ulong(); }
    ap_slong to_int64() const { return get().to_int64(); }
    ap_ulong to_uint64() const { return get().to_uint64(); }
    char to_char() const { return get().to_char(); }
    std::string to_string(signed char radix = 2) const { return get().to_string(radix); }
};

// One bit.
template <typename OWNER>
struct bit_reference {
    static const int width = 1;
    OWNER& owner;
    int index;

    bit_reference(OWNER& owner_, int index_) : owner(owner_), index(index_) {}
    bit_reference(const bit_reference&) = default;

    bool get() const { return owner.test(index); }
    operator bool() const { return get(); }
    bool to_bool() const { return get(); }
    bool operator~() const { return !get(); }
    bit_reference& operator=(const bit_reference& other) {
        owner.set_bit(index, other.get());
        return *this;
    }
    template <typename T>
    bit_reference& operator=(T other) {
        owner.set_bit(index, other != T(0));
        return *this;
    }
    template <typename T>
    void set(T value) {
        owner.set_bit(index, value != 0);
    }
    int length() const { return 1; }
    std::string to_string() const { return get() ? "1" : "0"; }
};

template <typename OWNER>
struct as_integer<range_reference<OWNER>, void> {
    static const bool valid = true;
    static const bool is_ours = true;
    static const int width = OWNER::width;
    static const bool is_signed = false;
    static typename storage<width, false>::type value(const range_reference<OWNER>& other) {
        return other.get().V;
    }
};

template <typename OWNER>
struct as_integer<bit_reference<OWNER>, void> {
    static const bool valid = true;
    static const bool is_ours = true;
    static const int width = 1;
    static const bool is_signed = false;
    static unsigned char value(const bit_reference<OWNER>& other) { return other.get(); }
};

// How a concatenation keeps a part: a variable by reference, what stands for one by value, one of
// C++'s own integers as ours.
template <typename T, typename DECAYED = typename std::decay<T>::type,
          bool IS_OURS = as_integer<DECAYED>::is_ours>
struct part_of {
    typedef T type;
    typedef as_integer<DECAYED> source;
};
template <typename T, typename DECAYED>
struct part_of<T, DECAYED, false> {
    typedef as_integer<DECAYED> source;
    typedef typename std::conditional<source::valid, as_integer<DECAYED>, as_integer<bool> >::type
        width_source;
    typedef integer<width_source::width, width_source::is_signed> type;
};
template <typename T, typename OWNER>
struct part_of<T&, range_reference<OWNER>, true> : part_of<range_reference<OWNER> > {};
template <typename T, typename OWNER>
struct part_of<T&, bit_reference<OWNER>, true> : part_of<bit_reference<OWNER> > {};
template <typename T, typename A, typename B>
struct part_of<T&, concatenation<A, B>, true> : part_of<concatenation<A, B> > {};

// The bits of `high` above those of `low`. As wide as both types; each part has its own length.
template <typename A, typename B>
struct concatenation {
    static const int high_width = part_of<A>::source::width;
    static const int low_width = part_of<B>::source::width;
    static const int width = high_width + low_width;
    typedef integer<width, false> value_type;
    typename part_of<A>::type high;
    typename part_of<B>::type low;

    template <typename T, typename U>
    concatenation(T&& high_, U&& low_)
        : high(std::forward<T>(high_)), low(std::forward<U>(low_)) {}
    concatenation(const concatenation&) = default;

    value_type get() const {
        value_type result = integer<low_width, false>(low);
        result.set_bits(length() - 1, low.length(), integer<high_width, false>(high));
        return result;
    }
    operator ap_ulong() const { return get().to_uint64(); }
    template <typename T>
    concatenation& operator=(T other) {
        const value_type value(other);
        high = value.bits(length() - 1, low.length());
        low = value.bits(low.length() - 1, 0);
        return *this;
    }
    concatenation& operator=(const concatenation& other) { return *this = other.get(); }
    template <typename T>
    void set(T value) {
        *this = value;
    }
    int length() const { return high.length() + low.length(); }
};

template <typename A, typename B>
struct as_integer<concatenation<A, B>, void> {
    static const bool valid = true;
    static const bool is_ours = true;
    static const int width = concatenation<A, B>::width;
    static const bool is_signed = false;
    static typename storage<width, false>::type value(const concatenation<A, B>& other) {
        return other.get().V;
    }
};

template <typename A, typename B>
inline enable<part_of<A>::source::valid && part_of<B>::source::valid &&
                  (part_of<A>::source::is_ours || part_of<B>::source::is_ours),
              concatenation<A, B> >
operator,(A&& high, B&& low) {
    return {std::forward<A>(high), std::forward<B>(low)};
}

}  // namespace ap_native

#endif  // HWFLOW_NATIVE_REFERENCES_H_
