#include "hwflow/fixed_point.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "hwflow/error.hpp"

namespace hwflow {
namespace {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSmallest = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kLimit = std::int64_t{1} << 62;
constexpr std::int64_t kMostIntegerBits = 1 << 20;

constexpr std::array<const char*, 7> kRoundings = {"TRN",     "TRN_ZERO",    "RND",     "RND_ZERO",
                                                   "RND_INF", "RND_MIN_INF", "RND_CONV"};
constexpr std::array<const char*, 4> kOverflows = {"WRAP", "SAT", "SAT_ZERO", "SAT_SYM"};

template <typename Enum, std::size_t size>
Enum named(const std::array<const char*, size>& names, const Json& json, const std::string& where) {
  const std::string& text = json.string(where);
  for (std::size_t i = 0; i < size; ++i) {
    if (text == names[i]) return static_cast<Enum>(i);
  }
  throw ProgramError(where + ": unknown mode '" + text + "'");
}

}  // namespace

std::int64_t FixedPoint::minimum() const {
  if (!is_signed) return 0;
  const std::int64_t lowest = kSmallest >> (64 - width);
  return overflow == Overflow::kSatSym && width > 1 ? lowest + 1 : lowest;
}

std::int64_t FixedPoint::maximum() const {
  const int bits = width - (is_signed ? 1 : 0);
  if (bits == 0) return 0;
  return kLargest >> std::max(63 - bits, 0);
}

std::int64_t FixedPoint::overflowed(std::int64_t raw) const {
  switch (overflow) {
    case Overflow::kWrap: {
      if (width == 64) return raw;
      const int spare = 64 - width;
      const std::uint64_t high = static_cast<std::uint64_t>(raw) << spare;
      return is_signed ? static_cast<std::int64_t>(high) >> spare
                       : static_cast<std::int64_t>(high >> spare);
    }
    case Overflow::kSatZero:
      return raw < minimum() || raw > maximum() ? 0 : raw;
    default:
      return std::clamp(raw, minimum(), maximum());
  }
}

FixedPoint FixedPoint::containing(std::int64_t low, std::int64_t high,
                                  std::int64_t fraction_bits) {
  const bool is_signed = low < 0;
  const auto bits = [](std::int64_t value) {
    // Python's int.bit_length: of the magnitude.
    const std::uint64_t magnitude = value < 0 ? 0 - static_cast<std::uint64_t>(value)
                                              : static_cast<std::uint64_t>(value);
    return static_cast<int>(std::bit_width(magnitude));
  };
  int width = std::max(bits(high), is_signed ? bits(-(low + 1)) : 0);
  width = std::max(width + (is_signed ? 1 : 0), 1);
  if (width > 64) throw ProgramError("more than 64 bits are needed");
  return {width, width - fraction_bits, is_signed, Rounding::kTrn, Overflow::kWrap};
}

FixedPoint FixedPoint::parse(const Json& json, const std::string& where) {
  FixedPoint format;
  const std::int64_t width = json.at("width", where).integer(where + ".width");
  if (width < 1 || width > 64) throw ProgramError(where + ".width: must be from 1 to 64");
  format.width = static_cast<int>(width);
  format.integer_bits = json.at("integer_bits", where).integer(where + ".integer_bits");
  if (format.integer_bits < -kMostIntegerBits || format.integer_bits > kMostIntegerBits) {
    throw ProgramError(where + ".integer_bits: beyond all reason");
  }
  format.is_signed = json.at("signed", where).boolean(where + ".signed");
  format.rounding = named<Rounding>(kRoundings, json.at("rounding", where), where + ".rounding");
  format.overflow = named<Overflow>(kOverflows, json.at("overflow", where), where + ".overflow");
  return format;
}

std::string FixedPoint::text() const {
  return std::string(is_signed ? "" : "u") + "fixed<" + std::to_string(width) + "," +
         std::to_string(integer_bits) + "," + kRoundings[static_cast<std::size_t>(rounding)] + "," +
         kOverflows[static_cast<std::size_t>(overflow)] + ">";
}

Requantizer::Requantizer(const FixedPoint& format, std::int64_t fraction_bits, std::int64_t divisor,
                         std::int64_t low, std::int64_t high, std::int64_t maximum)
    : format_(format), divisor_(divisor), maximum_(maximum) {
  if (divisor < 1) throw ProgramError("the divisor must be positive");
  const std::int64_t shift = fraction_bits - format.fraction_bits();
  if (shift >= 62 || divisor >= (kLimit >> std::max<std::int64_t>(shift, 0))) {
    throw ProgramError("a shift of " + std::to_string(shift) + " bits with divisor " +
                       std::to_string(divisor) + " overflows 63 bits");
  }
  if (shift < 0) {
    const std::int64_t peak = std::max(high, low == kSmallest ? kLargest : -low);
    if (peak > 0 && (-shift >= 62 || peak >= (kLimit >> -shift))) {
      throw ProgramError("a shift of " + std::to_string(-shift) + " bits overflows 63 bits");
    }
    left_ = static_cast<int>(std::min<std::int64_t>(-shift, 62));
    denominator_ = divisor;
    return;
  }
  right_ = static_cast<int>(shift);
  denominator_ = divisor << shift;
  if (right_ == 0) return;
  const std::int64_t half = std::int64_t{1} << (right_ - 1);
  switch (format.rounding) {
    case Rounding::kTrn:
      break;
    case Rounding::kTrnZero:
      rounding_.on_negative = 2 * half - 1;
      break;
    case Rounding::kRnd:
      rounding_.constant = half;
      break;
    case Rounding::kRndZero:
      rounding_.constant = half - 1;
      rounding_.on_negative = 1;
      break;
    case Rounding::kRndInf:
      rounding_.constant = half;
      rounding_.on_negative = -1;
      break;
    case Rounding::kRndMinInf:
      rounding_.constant = half - 1;
      break;
    case Rounding::kRndConv:
      rounding_.constant = half - 1;
      rounding_.on_odd = 1;
      break;
  }
}

std::int64_t Requantizer::rounded(std::int64_t raw) const {
  if (divisor_ == 1) {
    if (right_ == 0) return static_cast<std::int64_t>(static_cast<std::uint64_t>(raw) << left_);
    // The remainder is added to, not the value: nothing near 2**63 can overflow.
    const std::int64_t floor = raw >> right_;
    const std::int64_t remainder = raw - (floor << right_);
    const std::int64_t up = rounding_.constant + ((raw >> 63) & rounding_.on_negative) +
                            (-(floor & 1) & rounding_.on_odd);
    return floor + ((remainder + up) >> right_);
  }
  const std::int64_t numerator =
      static_cast<std::int64_t>(static_cast<std::uint64_t>(raw) << left_);
  std::int64_t quotient = numerator / denominator_;
  std::int64_t remainder = numerator % denominator_;
  if (remainder < 0) {
    remainder += denominator_;
    --quotient;
  }
  const std::int64_t twice = 2 * remainder;
  const bool above = twice > denominator_;
  const bool tie = twice == denominator_;
  const bool negative = numerator < 0;
  bool up = false;
  switch (format_.rounding) {
    case Rounding::kTrn:
      break;
    case Rounding::kTrnZero:
      up = negative && remainder > 0;
      break;
    case Rounding::kRnd:
      up = above || tie;
      break;
    case Rounding::kRndZero:
      up = above || (tie && negative);
      break;
    case Rounding::kRndInf:
      up = above || (tie && !negative);
      break;
    case Rounding::kRndMinInf:
      up = above;
      break;
    case Rounding::kRndConv:
      up = above || (tie && (quotient & 1) != 0);
      break;
  }
  return quotient + (up ? 1 : 0);
}

bool Requantizer::only_clips(std::int64_t low, std::int64_t high) const {
  return format_.overflow == Overflow::kSat || format_.overflow == Overflow::kSatSym ||
         (rounded(low) >= format_.minimum() && rounded(high) <= format_.maximum());
}

void Requantizer::apply(std::int64_t* values, std::size_t size, OverflowCount* count) const {
  if (count == nullptr) {
    for (std::size_t i = 0; i < size; ++i) values[i] = (*this)(values[i]);
    return;
  }
  const std::int64_t low = format_.minimum();
  std::int64_t changed = 0;
  std::int64_t below = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const std::int64_t exact = rounded(values[i]);
    const std::int64_t kept = format_.overflowed(exact);
    values[i] = std::min(kept, maximum_);
    changed += kept != exact;
    below += exact < low;
  }
  if (format_.overflow == Overflow::kWrap) {
    count->wrapped += changed;
  } else {
    count->saturated += changed;
    count->below += below;
  }
}

}  // namespace hwflow
