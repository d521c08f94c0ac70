// Raw DEFLATE, after RFC 1951; canonical Huffman codes are decoded length by length.
#include <array>

#include "hwflow/archive.hpp"
#include "hwflow/error.hpp"

namespace hwflow {
namespace {

constexpr int kLongestCode = 15;

[[noreturn]] void fail(const char* message) {
  throw ProgramError(std::string("compressed array: ") + message);
}

class Bits {
 public:
  explicit Bits(std::span<const std::uint8_t> stream) : stream_(stream) {}

  unsigned take(int count) {
    while (held_ < count) {
      if (position_ >= stream_.size()) fail("the stream ends too early");
      buffer_ |= static_cast<std::uint64_t>(stream_[position_++]) << held_;
      held_ += 8;
    }
    const unsigned value = static_cast<unsigned>(buffer_ & ((1ull << count) - 1));
    buffer_ >>= count;
    held_ -= count;
    return value;
  }

  void align() {
    buffer_ >>= held_ % 8;
    held_ -= held_ % 8;
  }

 private:
  std::span<const std::uint8_t> stream_;
  std::size_t position_ = 0;
  std::uint64_t buffer_ = 0;
  int held_ = 0;
};

class Code {
 public:
  explicit Code(std::span<const std::uint8_t> lengths) {
    for (const std::uint8_t length : lengths) ++counts_[length];
    counts_[0] = 0;
    std::array<int, kLongestCode + 2> offsets{};
    int room = 1;
    for (int length = 1; length <= kLongestCode; ++length) {
      room = room * 2 - counts_[length];
      if (room < 0) fail("an over-full code");
      offsets[length + 1] = offsets[length] + counts_[length];
    }
    symbols_.resize(lengths.size());
    for (std::size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      if (lengths[symbol] != 0) {
        symbols_[offsets[lengths[symbol]]++] = static_cast<std::uint16_t>(symbol);
      }
    }
  }

  int decode(Bits& bits) const {
    int code = 0;
    int first = 0;
    int index = 0;
    for (int length = 1; length <= kLongestCode; ++length) {
      code |= static_cast<int>(bits.take(1));
      const int count = counts_[length];
      if (code - first < count) return symbols_[index + code - first];
      index += count;
      first = (first + count) * 2;
      code *= 2;
    }
    fail("an unknown code");
  }

 private:
  std::array<int, kLongestCode + 1> counts_{};
  std::vector<std::uint16_t> symbols_;
};

constexpr std::array<int, 29> kLengthBase = {3,  4,  5,  6,  7,  8,  9,  10,  11,  13,
                                             15, 17, 19, 23, 27, 31, 35, 43,  51,  59,
                                             67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<int, 29> kLengthBits = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                             2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr std::array<int, 30> kDistanceBase = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,
                                               33,  49,  65,  97,  129, 193,  257,  385,  513,  769,
                                               1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289,
                                               16385, 24577};
constexpr std::array<int, 30> kDistanceBits = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                               6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

class Inflater {
 public:
  Inflater(std::span<const std::uint8_t> stream, std::size_t size) : bits_(stream), size_(size) {
    result_.reserve(size);
  }

  std::vector<std::uint8_t> run() {
    bool last = false;
    while (!last) {
      last = bits_.take(1) != 0;
      switch (bits_.take(2)) {
        case 0:
          stored();
          break;
        case 1:
          fixed();
          break;
        case 2:
          dynamic();
          break;
        default:
          fail("an unknown block");
      }
    }
    if (result_.size() != size_) fail("shorter than it says");
    return std::move(result_);
  }

 private:
  void put(std::uint8_t byte) {
    if (result_.size() >= size_) fail("longer than it says");
    result_.push_back(byte);
  }

  void stored() {
    bits_.align();
    const unsigned length = bits_.take(16);
    if (length != (bits_.take(16) ^ 0xFFFFu)) fail("a damaged block length");
    for (unsigned i = 0; i < length; ++i) put(static_cast<std::uint8_t>(bits_.take(8)));
  }

  void fixed() {
    std::array<std::uint8_t, 288> lengths;
    for (int symbol = 0; symbol < 288; ++symbol) {
      lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
    }
    std::array<std::uint8_t, 30> distances;
    distances.fill(5);
    block(Code(lengths), Code(distances));
  }

  void dynamic() {
    constexpr std::array<int, 19> order = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                           11, 4,  12, 3, 13, 2, 14, 1, 15};
    const unsigned literals = bits_.take(5) + 257;
    const unsigned distances = bits_.take(5) + 1;
    const unsigned codes = bits_.take(4) + 4;
    if (literals > 286 || distances > 30) fail("too many codes");
    std::array<std::uint8_t, 320> lengths{};
    for (unsigned i = 0; i < codes; ++i) {
      lengths[order[i]] = static_cast<std::uint8_t>(bits_.take(3));
    }
    const Code code(std::span<const std::uint8_t>(lengths).first(19));
    lengths.fill(0);
    unsigned index = 0;
    while (index < literals + distances) {
      const int symbol = code.decode(bits_);
      if (symbol < 16) {
        lengths[index++] = static_cast<std::uint8_t>(symbol);
        continue;
      }
      std::uint8_t value = 0;
      unsigned repeat = 0;
      if (symbol == 16) {
        if (index == 0) fail("nothing to repeat");
        value = lengths[index - 1];
        repeat = 3 + bits_.take(2);
      } else {
        repeat = symbol == 17 ? 3 + bits_.take(3) : 11 + bits_.take(7);
      }
      if (index + repeat > literals + distances) fail("too many code lengths");
      while (repeat-- > 0) lengths[index++] = value;
    }
    block(Code(std::span<const std::uint8_t>(lengths).first(literals)),
          Code(std::span<const std::uint8_t>(lengths).subspan(literals, distances)));
  }

  void block(const Code& literals, const Code& distances) {
    while (true) {
      int symbol = literals.decode(bits_);
      if (symbol < 256) {
        put(static_cast<std::uint8_t>(symbol));
        continue;
      }
      if (symbol == 256) return;
      symbol -= 257;
      if (symbol >= 29) fail("an unknown length");
      const std::size_t length = kLengthBase[symbol] + bits_.take(kLengthBits[symbol]);
      const int far = distances.decode(bits_);
      if (far >= 30) fail("an unknown distance");
      const std::size_t distance = kDistanceBase[far] + bits_.take(kDistanceBits[far]);
      if (distance > result_.size()) fail("a distance before the start");
      for (std::size_t i = 0; i < length; ++i) put(result_[result_.size() - distance]);
    }
  }

  Bits bits_;
  std::size_t size_;
  std::vector<std::uint8_t> result_;
};

}  // namespace

std::vector<std::uint8_t> inflate(std::span<const std::uint8_t> stream, std::size_t size) {
  // No stream expands more than 1032 times: refuse a false size before reserving it.
  if (size / 1032 > stream.size() + 1) fail("its size is not possible");
  return Inflater(stream, size).run();
}

}  // namespace hwflow
