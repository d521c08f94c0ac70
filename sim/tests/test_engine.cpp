// Formats, memory, programs and their runs.
#include <limits>

#include "hwflow/error.hpp"
#include "support.hpp"

namespace hwflow_test {
namespace {

using hwflow::FixedPoint;
using hwflow::Overflow;
using hwflow::Requantizer;
using hwflow::Rounding;

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kSmallest = std::numeric_limits<std::int64_t>::min();

// What rounding a quotient means, said plainly with 128 bits.
std::int64_t rounded(__int128 numerator, __int128 denominator, Rounding rounding) {
  __int128 floor = numerator / denominator;
  __int128 rest = numerator % denominator;
  if (rest < 0) {
    rest += denominator;
    floor -= 1;
  }
  const bool above = 2 * rest > denominator;
  const bool tie = 2 * rest == denominator;
  const bool negative = numerator < 0;
  bool up = false;
  if (rounding == Rounding::kTrnZero) up = negative && rest != 0;
  if (rounding == Rounding::kRnd) up = above || tie;
  if (rounding == Rounding::kRndZero) up = above || (tie && negative);
  if (rounding == Rounding::kRndInf) up = above || (tie && !negative);
  if (rounding == Rounding::kRndMinInf) up = above;
  if (rounding == Rounding::kRndConv) up = above || (tie && floor % 2 != 0);
  return static_cast<std::int64_t>(floor + up);
}

const RegisterTest kRounding("every rounding, every shift", [] {
  for (int mode = 0; mode < 7; ++mode) {
    const auto rounding = static_cast<Rounding>(mode);
    for (int shift = 0; shift < 62; ++shift) {
      for (const std::int64_t divisor : {1, 3, 4, 49}) {
        if (shift > 55 && divisor > 1) continue;
        const FixedPoint wide{64, 64, true, rounding, Overflow::kWrap};
        const Requantizer requantizer(wide, shift, divisor, kSmallest, kLargest);
        for (std::int64_t near = -4; near <= 4; ++near) {
          for (const std::int64_t base : {std::int64_t{0}, std::int64_t{1} << shift,
                                          std::int64_t{3} << shift >> 1, -(std::int64_t{5} << shift >> 1),
                                          kSmallest / 2, kLargest / 2, kSmallest + 4, kLargest - 4}) {
            const std::int64_t raw = base + near;
            const auto denominator = static_cast<__int128>(divisor) << shift;
            check(requantizer(raw) == rounded(raw, denominator, rounding),
                  "mode " + std::to_string(mode) + " shift " + std::to_string(shift) + " of " +
                      std::to_string(raw) + " by " + std::to_string(divisor));
          }
        }
      }
    }
  }
});

const RegisterTest kOverflow("every overflow, every width", [] {
  for (int width = 1; width <= 64; ++width) {
    for (const bool is_signed : {true, false}) {
      for (int mode = 0; mode < 4; ++mode) {
        const FixedPoint format{width, 0, is_signed, Rounding::kTrn, static_cast<Overflow>(mode)};
        const __int128 span = static_cast<__int128>(1) << width;
        const __int128 top = (is_signed ? span / 2 : span) - 1;
        const std::int64_t high = top > kLargest ? kLargest : static_cast<std::int64_t>(top);
        const bool symmetric = format.overflow == Overflow::kSatSym && width > 1;
        const std::int64_t low = is_signed ? static_cast<std::int64_t>(-(span / 2)) + symmetric : 0;
        check(format.minimum() == low && format.maximum() == high, "range of " + format.text());
        for (const std::int64_t raw : {kSmallest, low, std::int64_t{-1}, std::int64_t{0},
                                       std::int64_t{1}, high, kLargest}) {
          std::int64_t wanted = raw < low ? low : raw > high ? high : raw;
          if (format.overflow == Overflow::kSatZero && wanted != raw) wanted = 0;
          if (format.overflow == Overflow::kWrap && width < 64) {
            const __int128 rest = ((raw % span) + span) % span;
            wanted = static_cast<std::int64_t>(rest > top ? rest - span : rest);
          } else if (format.overflow == Overflow::kWrap) {
            wanted = raw;
          }
          check(format.overflowed(raw) == wanted, format.text() + " of " + std::to_string(raw));
        }
      }
    }
  }
});

const RegisterTest kPlacing("blocks that live at the same time do not overlap", [] {
  std::vector<hwflow::Block> blocks;
  for (std::int64_t i = 0; i < 40; ++i) blocks.push_back({(i * 37) % 300, i, i + i % 5, 0});
  const std::int64_t size = hwflow::place(blocks);
  std::int64_t total = 0;
  for (const auto& a : blocks) {
    total += a.size;
    check(a.offset % 64 == 0 && a.offset + a.size <= size, "within the arena");
    for (const auto& b : blocks) {
      const bool apart = &a == &b || a.size == 0 || b.size == 0 || a.last < b.first ||
                         b.last < a.first || a.offset + a.size <= b.offset ||
                         b.offset + b.size <= a.offset;
      check(apart, "two blocks overlap");
    }
  }
  check(size < total / 2, "memory is used again");
});

const RegisterTest kPaths("all paths agree, fused or not, with threads or without", [] {
  for (const Case& program : cases()) {
    const Results expected = run(program, "portable", 1, 3, true);
    for (const auto& path : hwflow::Target::available()) {
      for (const int threads : {1, 3}) {
        check(run(program, path, threads, 3, true) == expected, path + " differs");
        const Results outputs = run(program, path, threads, 3, false);
        for (std::size_t i = 0; i < outputs.size(); ++i) {
          check(outputs[i].empty() || outputs[i] == expected[i], path + " differs when fused");
        }
      }
    }
  }
});

const RegisterTest kRefuses("programs refused", [] {
  const Case good = cases()[0];
  const auto refused = [&](const std::string& from, const std::string& to, const char* part) {
    Case changed = good;
    const auto at = changed.json.find(from);
    check(at != std::string::npos, "the case has no " + from);
    changed.json.replace(at, from.size(), to);
    check_refused([&] { (void)changed.load(); }, part);
  };
  refused(R"("version": 1)", R"("version": 2)", "version 2, expected 1");
  refused("hwflow-integer-graph", "other", "not an integer graph");
  refused(R"("kind": "conv2d")", R"("kind": "conv3d")", "c1: unknown kind 'conv3d'");
  refused(R"("inputs": ["x"], "attributes")", R"("inputs": ["y"], "attributes")",
          "c1: reads 'y', which no earlier operation makes");
  refused(R"("inputs": ["x"], "attributes")", R"("inputs": [], "attributes")", "must have one input");
  refused(R"("outputs": ["y")", R"("outputs": ["z")", "output 'z' is not made");
  refused(R"("groups": 1)", R"("groups": 3)", "c1: groups: must divide the filters");
  refused(R"("groups": 1)", R"("groups": 2)", "do not fit 3 input channels");
  refused(R"("product_shift": 0)", R"("product_shift": 63)", "from 0 to 62");
  refused(R"("product_shift": 0)", R"("product_shift": 62)", "a value leaves 64 bits");
  refused(R"("array": "c1/weights")", R"("array": "c9/weights")", "no array 'c9/weights'");
  refused(R"("array": "c1/biases")", R"("array": "c2/biases")", "one for each of the 20 filters");
  refused(R"("array": "c2/channel_shifts")", R"("array": "c1/biases")",
          "c2: channel_shifts: must have one for each of the 4 filters");
  refused(R"("array": "c2/channel_shifts")", R"("array": "c2/biases")", "must be from 0 to 62");
  refused(R"("name": "a")", R"("name": "x")", "x: two operations have this name");
  refused(R"("fraction_bits": 8)", R"("fraction_bits": 9)", "a: its fraction bits and divisor");
  refused(R"("shifts": [0, 0])", R"("shifts": [0, 1])", "do not align");
  refused(R"("shifts": [0, 0])", R"("shifts": [0])", "as many shifts as inputs");
  refused(R"("window": [3, 2])", R"("window": [1, 2])", "padding alone");
  refused(R"("window": [3, 2])", R"("window": [99, 2])", "pool: a window of 99 does not fit in 7");
  refused(R"("padding": [1, 1, 1, 1])", R"("padding": [1, 1, 1, -1])", "c1.padding: out of range");
  refused(R"("strides": [1, 1])", R"("strides": [0, 1])", "strides: out of range");
  refused(R"("product_shift": 0)", R"("product_shift": 0, "dilation": [1, 0])",
          "dilation: out of range");
  refused(R"("product_shift": 0)", R"("product_shift": 0, "dilation": [1048577, 1])",
          "dilation: out of range");
  refused(R"("product_shift": 0)", R"("product_shift": 0, "dilation": [1, 6])",
          "c1: a window of 13 does not fit in 9");
  refused(R"("shape": [6, 7, 3])", R"("shape": [6, 7, 0])", "x: impossible shape (6, 7, 0)");
  refused(R"("shape": [6, 7, 3])", R"("shape": [1048576, 1048576, 3])", "is too large");
  refused(R"("divisor": 6)", R"("divisor": 5)", "its fraction bits and divisor");
  refused("RND_CONV", "ROUND", "unknown mode 'ROUND'");
  refused(R"("width": 8)", R"("width": 65)", "must be from 1 to 64");
});

const RegisterTest kRunErrors("runs refused", [] {
  hwflow::Engine engine(cases()[0].load(), 1, "");
  const auto refused = [&](std::vector<hwflow::ImageArray> inputs,
                           std::vector<hwflow::ImageArray> outputs, const std::string& part) {
    try {
      engine.run(inputs, outputs, 1, {});
    } catch (const hwflow::InputError& error) {
      check(std::string(error.what()).find(part) != std::string::npos, error.what());
      return;
    }
    throw std::logic_error("not refused: " + part);
  };
  std::vector<std::int64_t> image(6 * 7 * 3, 255);
  auto* data = reinterpret_cast<std::byte*>(image.data());
  refused({}, {}, "input 'x' is missing");
  refused({{0, data, 8, true}}, {{99, data, 8, true}}, "an output that does not exist");
  refused({{0, data, 8, true}}, {{1, data, 2, true}}, "items are too small");
  image.back() = 256;
  refused({{0, data, 8, true}}, {}, "leaves its range of 0 to 255");
});

const RegisterTest kPool("the pool runs on every thread and passes exceptions on", [] {
  hwflow::ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> seen{0};
    pool.run([&](int worker) { seen.fetch_add(1 << (8 * worker)); });
    check(seen.load() == 0x01010101, "each worker once");
  }
  bool thrown = false;
  try {
    pool.run([](int worker) {
      if (worker == 2) throw hwflow::InputError("two");
    });
  } catch (const hwflow::InputError&) {
    thrown = true;
  }
  check(thrown, "the exception arrives");
});

}  // namespace
}  // namespace hwflow_test
