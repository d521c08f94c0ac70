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
  Vec constant, on_negative, on_odd, low, high, bias;
  typename Isa::Count product_shift, shift;

  HWFLOW_INLINE explicit Finisher(const Finish& finish)
      : constant(Isa::set(finish.constant)), on_negative(Isa::set(finish.on_negative)),
        on_odd(Isa::set(finish.on_odd)), low(Isa::set(finish.low)), high(Isa::set(finish.high)),
        bias(Isa::set(finish.bias)), product_shift(Isa::count(finish.product_shift)),
        shift(Isa::count(finish.shift)) {}

  // Sums with their bias.
  HWFLOW_INLINE Vec sums(Vec products, Vec biases) const {
    return Isa::add(Isa::shift_left(products, product_shift), biases);
  }
  // Rounded, clipped, and biased as bytes are stored; `on_odd` is 0 or 1, so that it is the mask.
  HWFLOW_INLINE Vec rounded(Vec sum) const {
    const Vec odd = Isa::bits_and(Isa::shift_logical(sum, shift), on_odd);
    const Vec negative = Isa::bits_and(Isa::sign(sum), on_negative);
    const Vec up = Isa::add(Isa::add(constant, odd), negative);
    return Isa::shift_right(Isa::add(sum, up), shift);
  }
  HWFLOW_INLINE Vec clipped(Vec sum) const {
    return Isa::add(Isa::minimum(Isa::maximum(rounded(sum), low), high), bias);
  }
  HWFLOW_INLINE void store(uint8_t* to, int64_t item, Vec sum, int count, int kind) const {
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
HWFLOW_INLINE void gemm_block(const GemmTask& task, const Finisher<Isa>& finisher,
                              const Pixels* pixels) {
  using Vec = typename Isa::Vec;
  Vec sums[rows][vectors];
#pragma GCC unroll 16
  for (int m = 0; m < rows; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < vectors; ++n) sums[m][n] = Isa::zero();
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
        for (int n = 0; n < vectors; ++n) sums[m][n] = Dot::dot(sums[m][n], value, line[n]);
      }
    }
  }
  const int kind = task.finish.kind;
#pragma GCC unroll 4
  for (int n = 0; n < vectors; ++n) {
    const int left = task.channels - n * Isa::lanes;
    const int count = left < Isa::lanes ? left : Isa::lanes;
    const Vec biases = Isa::load(task.biases + n * Isa::lanes);
#pragma GCC unroll 16
    for (int m = 0; m < rows; ++m) {
      finisher.store(pixels[m].output, n * Isa::lanes, finisher.sums(sums[m][n], biases), count,
                     kind);
    }
  }
}

// Walks over the pixels in blocks of `most`, then of 4, 2 and 1.
template <typename Isa, typename Dot, int most, int vectors>
void gemm_panel(const GemmTask& task) {
  const Finisher<Isa> finisher(task.finish);
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
  const int kind = task.finish.kind;
  for (int64_t x = 0; x < task.width; ++x) {
    const uint8_t* input = task.input + x * task.input_pixel;
    uint8_t* output = task.output + x * task.output_pixel;
    const uint8_t* weights = static_cast<const uint8_t*>(task.weights);
    for (int32_t c = 0; c < task.channels; c += Isa::lanes) {
      Vec sum = Isa::zero();
      for (int32_t tap = 0; tap < task.tap_count; tap += 2) {
        const Vec even = Isa::load_bytes(input + task.taps[tap] + c);
        const Vec odd = Isa::load_bytes(input + task.taps[tap + 1] + c);
        sum = Isa::Shorts::dot(sum, Isa::pair(even, odd), Isa::load(weights));
        weights += Isa::lanes * 4;
      }
      const int left = task.channels - c;
      finisher.store(output, c, finisher.sums(sum, Isa::load(task.biases + c)),
                     left < Isa::lanes ? left : Isa::lanes, kind);
    }
  }
}

template <typename Isa>
void add_bytes(const AddTask& task) {
  using Vec = typename Isa::Vec;
  const Finisher<Isa> finisher(task.finish);
  const auto left_shift = Isa::count(task.left_shift);
  const auto right_shift = Isa::count(task.right_shift);
  const Vec constant = Isa::set(task.constant);
  for (int64_t i = 0; i < task.count; i += Isa::lanes) {
    const Vec left = Isa::shift_left(Isa::load_bytes(task.left + i), left_shift);
    const Vec right = Isa::shift_left(Isa::load_bytes(task.right + i), right_shift);
    const int64_t rest = task.count - i;
    finisher.store(task.output, i, Isa::add(Isa::add(left, right), constant),
                   rest < Isa::lanes ? static_cast<int>(rest) : Isa::lanes, task.finish.kind);
  }
}

// These the compiler makes vectors of.
void maximum_bytes(uint8_t* __restrict result, const uint8_t* __restrict values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) result[i] = result[i] > values[i] ? result[i] : values[i];
}

void accumulate_bytes(int32_t* __restrict sums, const uint8_t* __restrict values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) sums[i] += values[i];
}

void widen_bytes(int16_t* __restrict result, const uint8_t* __restrict values, int64_t count,
                 int32_t bias) {
  for (int64_t i = 0; i < count; ++i) result[i] = static_cast<int16_t>(values[i] - bias);
}

}  // namespace
}  // namespace hwflow
