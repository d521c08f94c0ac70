// What operations become: steps over tensors that lie in one arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "hwflow/program.hpp"

namespace hwflow {

// How raw integers lie in memory. Signed bytes are kept biased, `raw + 128`, so that every byte
// tensor is unsigned: one kernel serves both, and the bias goes into the sums.
enum class Storage { kU8, kS8, kI16, kI32, kI64 };

// The narrowest storage of values from `low` to `high`.
Storage storage_of(std::int64_t low, std::int64_t high);
Storage storage_of(const Tensor& tensor);
std::int64_t item_size(Storage storage);
// What stands in memory for zero.
constexpr std::int64_t bias_of(Storage storage) { return storage == Storage::kS8 ? 128 : 0; }
constexpr bool is_byte(Storage storage) {
  return storage == Storage::kU8 || storage == Storage::kS8;
}

// Where a tensor lies: channels side by side, pixels and rows at strides in bytes.
struct View {
  std::int64_t offset = 0;  // of pixel (0, 0), channel 0, from the arena's start
  std::int64_t row_stride = 0;
  std::int64_t pixel_stride = 0;
  Shape shape;
  Storage storage = Storage::kU8;
  Padding halo;  // zeros that surround it in memory

  std::int64_t at(std::int64_t y, std::int64_t x) const {
    return offset + y * row_stride + x * pixel_stride;
  }
  // Whether the pixels of a row lie side by side.
  bool is_dense() const { return pixel_stride == shape.channels * item_size(storage); }
  // Reads or writes `pixels` pixels from (y, x) on, channels innermost.
  void load(const std::byte* arena, std::int64_t y, std::int64_t x, std::int64_t pixels,
            std::int64_t* values) const;
  void store(std::byte* arena, std::int64_t y, std::int64_t x, std::int64_t pixels,
             const std::int64_t* values) const;
  // Writes zeros into the halo.
  void clear_halo(std::byte* arena) const;
};

// Calls `work` with a null pointer of the type that items of a storage have in memory.
template <typename Work>
void with_item_type(Storage storage, const Work& work) {
  switch (storage) {
    case Storage::kU8:
    case Storage::kS8:
      return work(static_cast<const std::uint8_t*>(nullptr));
    case Storage::kI16:
      return work(static_cast<const std::int16_t*>(nullptr));
    case Storage::kI32:
      return work(static_cast<const std::int32_t*>(nullptr));
    case Storage::kI64:
      return work(static_cast<const std::int64_t*>(nullptr));
  }
}

// What a step runs on; one for each thread.
struct Context {
  std::byte* arena = nullptr;
  OverflowCount* overflows = nullptr;  // by operation; null unless statistics are wanted
};

// A part of the work of one image, in units that may run at the same time.
struct StepWork {
  std::int64_t units = 1;
  std::function<void(const Context&, std::int64_t first, std::int64_t last)> run;
};

class Step {
 public:
  explicit Step(StepWork work) : work_(std::move(work)) {}

  std::string name;  // of the operation it belongs to

  std::int64_t units() const { return work_.units; }
  void run(const Context& context, std::int64_t first, std::int64_t last) const {
    work_.run(context, first, last);
  }

 private:
  StepWork work_;
};

using Steps = std::vector<std::unique_ptr<Step>>;

inline Steps one_step(std::int64_t units,
                      std::function<void(const Context&, std::int64_t, std::int64_t)> run) {
  Steps steps;
  steps.push_back(std::make_unique<Step>(StepWork{units, std::move(run)}));
  return steps;
}

// Where results go: requantized first if so planned.
struct Sink {
  View view;
  const Requantizer* requantizer = nullptr;
  std::size_t index = 0;  // of the operation whose overflows are counted

  // Uses up `values`.
  void write(const Context& context, std::int64_t y, std::int64_t x, std::int64_t pixels,
             std::int64_t* values) const;
};

// What an operation is told when it is turned into steps.
struct Site {
  std::vector<View> inputs;
  std::vector<const Tensor*> sources;
  const Tensor* result = nullptr;       // of the operation itself
  const Tensor* requantized = nullptr;  // of the requantization that it takes over, or null
  Sink sink;
  std::int64_t scratch = 0;  // offset of its own memory
};

}  // namespace hwflow
