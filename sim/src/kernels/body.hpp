// The kernels' loops, for whichever instruction set the including file has chosen. Included after
// the target pragma and inside no namespace; everything is local to that file.
#pragma once

#include <stdint.h>

#include "hwflow/kernels.hpp"

namespace hwflow {
namespace {

#define HWFLOW_INLINE inline __attribute__((always_inline))

template <typename Isa>
struct Finisher {
  using Vec = typename Isa::Vec;
  Vec constant, on_negative, on_odd, low, high, bias, shift;
  bool looks_at_sign;
  int kind;

  HWFLOW_INLINE explicit Finisher(const Finish& finish)
      : constant(Isa::set(finish.constant)), on_negative(Isa::set(finish.on_negative)),
        on_odd(Isa::set(finish.on_odd)), low(Isa::set(finish.low)), high(Isa::set(finish.high)),
        bias(Isa::set(finish.bias)), shift(Isa::set(finish.shift)), looks_at_sign(finish.on_negative != 0), kind(finish.kind) {}

  // Sums in the unit of their bias, by channel.
  template <int count>
  static HWFLOW_INLINE void align(Vec* sums, Vec shifts) {
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i) sums[i] = Isa::shift_left(sums[i], shifts);
  }
  // Sums with their bias; ready for `rounded` if they are to be rounded.
  template <int count>
  HWFLOW_INLINE void complete(Vec* sums, Vec biases) const {
#pragma GCC unroll 16
    for (int i = 0; i < count; ++i) sums[i] = Isa::add(sums[i], biases);
    if (looks_at_sign) {  // no rounding looks at the sign and at the last bit
#pragma GCC unroll 16
      for (int i = 0; i < count; ++i) {
        sums[i] = Isa::add(sums[i], Isa::bits_and(Isa::sign(sums[i]), on_negative));
      }
    }
  }
  // Shifted to the right; `on_odd` is 0 or 1, so that it is the mask of the last bit too.
  HWFLOW_INLINE Vec rounded(Vec sum) const {
    const Vec odd = Isa::bits_and(Isa::shift_logical(sum, shift), on_odd);
    return Isa::shift_right(Isa::add(Isa::add(sum, constant), odd), shift);
  }
  HWFLOW_INLINE Vec clipped(Vec sum) const {
    return Isa::add(Isa::minimum(Isa::maximum(rounded(sum), low), high), bias);
  }
  // Completed sums of one pixel.
  template <int vectors>
  HWFLOW_INLINE void store_line(uint8_t* to, const Vec* sums, int channels) const {
#pragma GCC unroll 4
    for (int n = 0; n < vectors; ++n) {
      const int left = channels - n * Isa::lanes;
      store(to, n * Isa::lanes, sums[n], left < Isa::lanes ? left : Isa::lanes);
    }
  }
  HWFLOW_INLINE void store(uint8_t* to, int64_t item, Vec sum, int count) const {
    if (kind == Finish::kBytes) {
      Isa::store_bytes(to + item, clipped(sum), count);
    } else if (kind == Finish::kShorts) {
      Isa::store_shorts(to + item * 2, clipped(sum), count);
    } else {
      Isa::store_sums(to + item * 4, sum, count);
    }
  }
};

struct Pixels {
  const uint8_t* input;
  uint8_t* output;
};

// One block of `rows` pixels times `vectors` vectors of channels, kept in registers.
template <typename Isa, typename Dot, int rows, int vectors>
HWFLOW_INLINE void gemm_block(const GemmTask& task, const typename Isa::Finish& finisher,
                              const Pixels* pixels) {
  using Vec = typename Isa::Vec;
  Vec sums[vectors][rows];
#pragma GCC unroll 4
  for (int n = 0; n < vectors; ++n) {
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) sums[n][m] = Isa::zero();
  }
  const uint8_t* weights = static_cast<const uint8_t*>(task.weights);
  for (int32_t segment = 0; segment < task.segment_count; ++segment) {
    const int64_t offset = task.segments[segment];
    const uint8_t* inputs[rows];
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) inputs[m] = pixels[m].input + offset;
    const int64_t depth = task.depth;
    for (int64_t word = 0; word < depth; ++word) {
      Vec line[vectors];
#pragma GCC unroll 4
      for (int n = 0; n < vectors; ++n) line[n] = Isa::load(weights + n * Isa::lanes * 4);
      weights += vectors * Isa::lanes * 4;
#pragma GCC unroll 16
      for (int m = 0; m < rows; ++m) {
        const Vec value = Isa::broadcast(inputs[m] + word * 4);
#pragma GCC unroll 4
        for (int n = 0; n < vectors; ++n) sums[n][m] = Dot::dot(sums[n][m], value, line[n]);
      }
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < vectors; ++n) {
    if (task.shifts != nullptr) {
      finisher.template align<rows>(sums[n], Isa::load(task.shifts + n * Isa::lanes));
    }
    finisher.template complete<rows>(sums[n], Isa::load(task.biases + n * Isa::lanes));
  }
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) {
    Vec line[vectors];
#pragma GCC unroll 4
    for (int n = 0; n < vectors; ++n) line[n] = sums[n][m];
    finisher.template store_line<vectors>(pixels[m].output, line, task.channels);
  }
}

// Walks over the pixels in blocks of `most`, then of 4, 2 and 1.
template <typename Isa, typename Dot, int most, int vectors>
void gemm_panel(const GemmTask& task) {
  const typename Isa::Finish finisher(task.finish);
  int64_t y = task.first / task.width;
  int64_t x = task.first % task.width;
  Pixels pixels[most];
  int64_t left = task.last - task.first;
  while (left > 0) {
    const int take = left >= most ? most : left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const uint8_t* input = task.input + y * task.input_row + x * task.input_pixel;
    uint8_t* output = task.output + y * task.output_row + x * task.output_pixel;
    for (int m = 0; m < take; ++m) {
      pixels[m] = {input, output};
      if (++x == task.width) {
        x = 0;
        ++y;
        input = task.input + y * task.input_row;
        output = task.output + y * task.output_row;
      } else {
        input += task.input_pixel;
        output += task.output_pixel;
      }
    }
    left -= take;
    if (take == most) {
      gemm_block<Isa, Dot, most, vectors>(task, finisher, pixels);
    } else if (take == 4) {
      gemm_block<Isa, Dot, 4, vectors>(task, finisher, pixels);
    } else if (take == 2) {
      gemm_block<Isa, Dot, 2, vectors>(task, finisher, pixels);
    } else {
      gemm_block<Isa, Dot, 1, vectors>(task, finisher, pixels);
    }
  }
}

// Depthwise by pairs of taps in 16 bits: `lanes` channels at a time.
template <typename Isa>
void depthwise_pairs(const DepthwiseTask& task) {
  using Vec = typename Isa::Vec;
  const Finisher<Isa> finisher(task.finish);
  for (int64_t x = 0; x < task.width; ++x) {
    const int32_t channels = x == task.width - 1 ? task.last_channels : task.channels;
    const uint8_t* input = task.input + x * task.input_pixel;
    uint8_t* output = task.output + x * task.output_pixel;
    const uint8_t* weights = static_cast<const uint8_t*>(task.weights);
    for (int32_t c = 0; c < channels; c += Isa::lanes) {
      Vec sum = Isa::zero();
      for (int32_t tap = 0; tap < task.tap_count; tap += 2) {
        const Vec even = Isa::load_bytes(input + task.taps[tap] + c);
        const Vec odd = Isa::load_bytes(input + task.taps[tap + 1] + c);
        sum = Isa::Shorts::dot(sum, Isa::pair(even, odd), Isa::load(weights));
        weights += Isa::lanes * 4;
      }
      if (task.shifts != nullptr) {
        finisher.template align<1>(&sum, Isa::load(task.shifts + c));
      }
      finisher.template complete<1>(&sum, Isa::load(task.biases + c));
      const int left = channels - c;
      finisher.store(output, c, sum, left < Isa::lanes ? left : Isa::lanes);
    }
  }
}

template <typename Isa>
void add_bytes(const AddTask& task) {
  using Vec = typename Isa::Vec;
  const Finisher<Isa> finisher(task.finish);
  const Vec left_shift = Isa::set(task.left_shift);
  const Vec right_shift = Isa::set(task.right_shift);
  const Vec constant = Isa::set(task.constant);
  for (int64_t i = 0; i < task.count; i += Isa::lanes) {
    const Vec left = Isa::shift_left(Isa::load_bytes(task.left + i), left_shift);
    const Vec right = Isa::shift_left(Isa::load_bytes(task.right + i), right_shift);
    Vec sum = Isa::add(left, right);
    finisher.template complete<1>(&sum, constant);
    const int64_t rest = task.count - i;
    finisher.store(task.output, i, sum, rest < Isa::lanes ? static_cast<int>(rest) : Isa::lanes);
  }
}

template <typename Isa>
void multiply_bytes(const MultiplyTask& task) {
  using Vec = typename Isa::Vec;
  const Finisher<Isa> finisher(task.finish);
  const Vec left_bias = Isa::set(-task.left_bias);
  const Vec right_bias = Isa::set(-task.right_bias);
  for (int64_t i = 0; i < task.count; i += Isa::lanes) {
    const Vec left = Isa::add(Isa::load_bytes(task.left + i), left_bias);
    const Vec right = Isa::add(Isa::load_bytes(task.right + i), right_bias);
    Vec product = Isa::multiply(left, right);
    finisher.template complete<1>(&product, Isa::zero());
    const int64_t rest = task.count - i;
    finisher.store(task.output, i, product, rest < Isa::lanes ? static_cast<int>(rest) : Isa::lanes);
  }
}

// The entry of `1 << bits` tables of sixteen bytes that each byte names: its low half shuffles them
// all, the bits above choose among them.
template <typename Isa, int bits>
HWFLOW_INLINE typename Isa::Vec look_up(const typename Isa::Vec* tables, typename Isa::Vec bytes,
                                        typename Isa::Vec low) {
  if constexpr (bits == 0) {
    return Isa::shuffle(tables[0], low);
  } else {
    return Isa::blend(look_up<Isa, bits - 1>(tables, bytes, low),
                      look_up<Isa, bits - 1>(tables + (1 << (bits - 1)), bytes, low),
                      Isa::byte_mask(bytes, 3 + bits));
  }
}

template <typename Isa>
void lookup_bytes(const uint8_t* table, const uint8_t* input, uint8_t* output, int64_t count) {
  using Vec = typename Isa::Vec;
  constexpr int width = Isa::lanes * 4;
  Vec tables[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) tables[i] = Isa::repeated(table + 16 * i);
  const Vec halves = Isa::set(0x0F0F0F0F);
  int64_t i = 0;
  for (; i + width <= count; i += width) {
    const Vec bytes = Isa::load(input + i);
    const Vec found = look_up<Isa, 4>(tables, bytes, Isa::bits_and(bytes, halves));
    Isa::store_raw(output + i, found, width);
  }
  for (; i < count; ++i) output[i] = table[input[i]];
}

template <typename Isa>
void requantize_sums(const RequantizeTask& task) {
  using Vec = typename Isa::Vec;
  const Finisher<Isa> finisher(task.finish);
  const auto* input = static_cast<const uint8_t*>(task.input);
  for (int64_t i = 0; i < task.count; i += Isa::lanes) {
    Vec sum = task.is_short ? Isa::load_shorts(input + 2 * i) : Isa::load(input + 4 * i);
    finisher.template complete<1>(&sum, Isa::zero());
    const int64_t rest = task.count - i;
    finisher.store(task.output, i, sum, rest < Isa::lanes ? static_cast<int>(rest) : Isa::lanes);
  }
}

// The compiler makes vectors of this.
template <typename Item>
void count_outside_of(OutsideTask& task) {
  const Item* input = static_cast<const Item*>(task.input);
  const Finish finish = task.finish;
  const int32_t low = task.low;
  const int32_t high = task.high;
  constexpr int64_t block = 1 << 16;  // counts of a block fit into 32 bits
  for (int64_t start = 0; start < task.count; start += block) {
    const int64_t stop = start + block < task.count ? start + block : task.count;
    int32_t below = 0;
    int32_t above = 0;
    for (int64_t i = start; i < stop; ++i) {
      int32_t sum = input[i];
      sum += (sum >> 31) & finish.on_negative;
      const int32_t odd = (sum >> finish.shift) & finish.on_odd;
      const int32_t rounded = (sum + finish.constant + odd) >> finish.shift;
      below += rounded < low;
      above += rounded > high;
    }
    task.below += below;
    task.above += above;
  }
}

void count_outside(OutsideTask& task) {
  if (task.is_short) {
    count_outside_of<int16_t>(task);
  } else {
    count_outside_of<int32_t>(task);
  }
}

template <typename Isa, typename Dot, int items>
int64_t peak_products(int64_t rounds) {
  constexpr int sums = 12;
  typename Isa::Vec sum[sums];
  typename Isa::Vec value = Isa::set(0x01010101);
#pragma GCC unroll 16
  for (int i = 0; i < sums; ++i) sum[i] = Isa::set(i);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < sums; ++i) sum[i] = Dot::dot(sum[i], value, value);
    asm volatile("" : "+x"(value));
  }
#pragma GCC unroll 16
  for (int i = 0; i < sums; ++i) asm volatile("" : "+x"(sum[i]));
  return rounds * sums * Isa::lanes * items;
}

// Channels in vectors of bytes, every pixel of the window in turn.
template <typename Isa>
void maximum_of_window(const WindowTask& task) {
  uint8_t* output = static_cast<uint8_t*>(task.output);
  for (int64_t c = 0; c < task.channels; c += Isa::lanes * 4) {
    typename Isa::Vec most = Isa::load(task.input + c);
    for (int64_t y = 0; y < task.rows; ++y) {
      const uint8_t* pixel = task.input + y * task.row + c;
      for (int64_t x = 0; x < task.columns; ++x) {
        most = Isa::maximum_bytes(most, Isa::load(pixel));
        pixel += task.pixel;
      }
    }
    const int64_t left = task.channels - c;
    Isa::store_raw(output + c, most, left < Isa::lanes * 4 ? static_cast<int>(left) : Isa::lanes * 4);
  }
}

template <typename Isa>
void sum_of_window(const WindowTask& task) {
  uint8_t* output = static_cast<uint8_t*>(task.output);
  for (int64_t c = 0; c < task.channels; c += Isa::lanes) {
    typename Isa::Vec sum = Isa::zero();
    for (int64_t y = 0; y < task.rows; ++y) {
      const uint8_t* pixel = task.input + y * task.row + c;
      for (int64_t x = 0; x < task.columns; ++x) {
        sum = Isa::add(sum, Isa::load_bytes(pixel));
        pixel += task.pixel;
      }
    }
    const int64_t left = task.channels - c;
    Isa::store_sums(output + c * 4, sum, left < Isa::lanes ? static_cast<int>(left) : Isa::lanes);
  }
}

// Whole vectors are written: what goes beyond a pixel is overwritten by the next one.
template <typename Isa>
void stretch_bytes(const StretchTask& task) {
  using Vec = typename Isa::Vec;
  uint8_t* output = reinterpret_cast<uint8_t*>(task.output);
  for (int64_t x = 0; x < task.width; ++x) {
    const uint8_t* first = task.input + task.taps[2 * x];
    const uint8_t* second = task.input + task.taps[2 * x + 1];
    const Vec weights = Isa::set(task.weights[x]);
    for (int32_t c = 0; c < task.channels; c += Isa::lanes) {
      const Vec both = Isa::pair(Isa::load_bytes(first + c), Isa::load_bytes(second + c));
      Isa::store_shorts(output + 2 * c, Isa::Shorts::dot(Isa::zero(), both, weights), Isa::lanes);
    }
    output += 2 * task.channels;
  }
}

template <typename Isa>
void blend_shorts(const BlendTask& task) {
  using Vec = typename Isa::Vec;
  const typename Isa::Finish finisher(task.finish);
  const Vec weights = Isa::set(task.weights);
  const Vec constant = Isa::set(task.constant);
  const uint8_t* first = reinterpret_cast<const uint8_t*>(task.first);
  const uint8_t* second = reinterpret_cast<const uint8_t*>(task.second);
  constexpr int64_t block = 4 * Isa::lanes;
  const int64_t item = task.finish.kind == Finish::kBytes ? 1 : task.finish.kind == Finish::kShorts ? 2 : 4;
  const auto sum_of = [&](int64_t i) __attribute__((always_inline)) {
    const Vec both = Isa::pair(Isa::load_shorts(first + 2 * i), Isa::load_shorts(second + 2 * i));
    return Isa::Shorts::dot(Isa::zero(), both, weights);
  };
  int64_t i = 0;
  for (; i + block <= task.count; i += block) {
    Vec sums[4];
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) sums[n] = sum_of(i + n * Isa::lanes);
    finisher.template complete<4>(sums, constant);
    finisher.template store_line<4>(task.output + i * item, sums, block);
  }
  for (; i < task.count; i += Isa::lanes) {
    Vec sum = sum_of(i);
    finisher.template complete<1>(&sum, constant);
    const int64_t rest = task.count - i;
    finisher.store(task.output, i, sum, rest < Isa::lanes ? static_cast<int>(rest) : Isa::lanes);
  }
}

template <typename Isa>
void greatest_bytes(const GreatestTask& task) {
  using Vec = typename Isa::Vec;
  int32_t order[Isa::lanes];
  int32_t chosen[2 * Isa::lanes];
  for (int i = 0; i < Isa::lanes; ++i) {
    order[i] = 0xFFFF - i;
    chosen[i] = -1;
    chosen[Isa::lanes + i] = 0;
  }
  const Vec first = Isa::load(order);
  const Vec sixteen = Isa::set(16);
  const int32_t rest = task.channels % Isa::lanes;
  const Vec last = Isa::load(chosen + (rest == 0 ? 0 : Isa::lanes - rest));
  for (int64_t x = 0; x < task.width; ++x) {
    const uint8_t* input = task.input + x * task.input_pixel;
    Vec most = Isa::zero();
    for (int32_t c = 0; c < task.channels; c += Isa::lanes) {
      Vec key = Isa::add(Isa::shift_left(Isa::load_bytes(input + c), sixteen),
                         Isa::add(first, Isa::set(-c)));
      if (c + Isa::lanes > task.channels) key = Isa::bits_and(key, last);
      most = Isa::maximum(most, key);
    }
    task.keys[x] = Isa::greatest(most);
  }
}

// The compiler makes vectors of this.
void softmax_bytes(const SoftmaxTask& task) {
  // Added and subtracted, it rounds to whole numbers, ties to even.
  constexpr double whole = 6755399441055744.0;  // 1.5 * 2**52
  int64_t* output = task.output;
  for (int64_t x = 0; x < task.width; ++x) {
    const uint8_t* input = task.input + x * task.input_pixel;
    uint8_t most = 0;
    for (int32_t c = 0; c < task.channels; ++c) most = input[c] > most ? input[c] : most;
    int32_t sum = 0;
    for (int32_t c = 0; c < task.channels; ++c) {
      task.parts[c] = task.table[most - input[c]];
      sum += task.parts[c];
    }
    const double total = sum;
    for (int32_t c = 0; c < task.channels; ++c) {
      const double share = task.parts[c] * task.scale / total;
      output[c] = static_cast<int32_t>(share + whole - whole);
    }
    output += task.channels;
  }
}

// The compiler makes vectors of this.
void widen_bytes(int16_t* __restrict result, const uint8_t* __restrict values, int64_t count,
                 int32_t bias) {
  for (int64_t i = 0; i < count; ++i) result[i] = static_cast<int16_t>(values[i] - bias);
}

}  // namespace
}  // namespace hwflow
