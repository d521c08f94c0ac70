// Fixed-point formats and the exact step from one to another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "hwflow/json.hpp"

namespace hwflow {

// What happens to the bits below the last kept one (ap_fixed's modes, UG1399).
enum class Rounding {
  kTrn,        // toward minus infinity
  kTrnZero,    // toward zero
  kRnd,        // nearest, ties toward plus infinity
  kRndZero,    // nearest, ties toward zero
  kRndInf,     // nearest, ties away from zero
  kRndMinInf,  // nearest, ties toward minus infinity
  kRndConv,    // nearest, ties to even
};

// What happens to a value beyond the range (ap_fixed's modes, UG1399).
enum class Overflow { kWrap, kSat, kSatZero, kSatSym };

// The value is `raw * 2**-(width - integer_bits)`. Raw integers are held in 64 bits with a sign.
struct FixedPoint {
  int width = 1;
  std::int64_t integer_bits = 0;
  bool is_signed = true;
  Rounding rounding = Rounding::kTrn;
  Overflow overflow = Overflow::kWrap;

  bool operator==(const FixedPoint&) const = default;

  std::int64_t fraction_bits() const { return width - integer_bits; }
  // The least and the greatest raw integer that rounding and overflow can produce.
  std::int64_t minimum() const;
  std::int64_t maximum() const;
  // Applies the overflow mode to a raw integer of this format's unit.
  std::int64_t overflowed(std::int64_t raw) const;

  // The narrowest format with the given unit that holds `low` to `high`.
  static FixedPoint containing(std::int64_t low, std::int64_t high, std::int64_t fraction_bits);
  // Throws ProgramError naming `where` if the object is not a format.
  static FixedPoint parse(const Json& json, const std::string& where);
  std::string text() const;
};

// How often values left the range of a format, by what was done about it.
struct OverflowCount {
  std::int64_t saturated = 0;  // clipped to the range or to zero
  std::int64_t below = 0;      // of those, the ones under the range (ReLU's, if it is unsigned)
  std::int64_t wrapped = 0;
};

// Brings `raw * 2**-fraction_bits / divisor` to a format: shifted or divided, rounded once, then
// brought into the range.
class Requantizer {
 public:
  // Rounding of a right shift as an addition before it:
  // `(x + constant + (sign & on_negative) + (odd & on_odd)) >> shift`, with `sign` all ones for a
  // negative x and `odd` all ones where bit `shift` of x is set.
  struct ShiftRounding {
    std::int64_t constant = 0;
    std::int64_t on_negative = 0;
    std::int64_t on_odd = 0;
  };

  // Throws ProgramError if values from `low` to `high` cannot be brought there within 63 bits.
  // Results are clipped to `maximum` too.
  Requantizer(const FixedPoint& format, std::int64_t fraction_bits, std::int64_t divisor,
              std::int64_t low, std::int64_t high,
              std::int64_t maximum = std::numeric_limits<std::int64_t>::max());

  const FixedPoint& format() const { return format_; }
  // True if there is nothing to divide but powers of two: `x >> shift()`, never to the left.
  bool is_shift() const { return divisor_ == 1 && left_ == 0; }
  int shift() const { return right_; }
  const ShiftRounding& rounding() const { return rounding_; }
  // Whether clipping to the format's range and the maximum is all that becomes of values from `low` to `high` once
  // they are rounded.
  bool only_clips(std::int64_t low, std::int64_t high) const;

  std::int64_t operator()(std::int64_t raw) const {
    return std::min(format_.overflowed(rounded(raw)), maximum_);
  }
  // In place; counts into `count` unless it is null.
  void apply(std::int64_t* values, std::size_t size, OverflowCount* count) const;

 private:
  std::int64_t rounded(std::int64_t raw) const;

  FixedPoint format_;
  int left_ = 0;
  int right_ = 0;
  std::int64_t divisor_ = 1;      // of the numerator, the right shift not included
  std::int64_t denominator_ = 1;  // divisor << right
  std::int64_t maximum_;
  ShiftRounding rounding_;
};

}  // namespace hwflow
