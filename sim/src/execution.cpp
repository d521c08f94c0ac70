#include "hwflow/execution.hpp"

#include <cstring>
#include <limits>

namespace hwflow {
namespace {

template <typename T>
void load_as(const std::byte* from, std::int64_t stride, std::int64_t pixels, std::int64_t channels,
             std::int64_t bias, std::int64_t* values) {
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    const T* items = reinterpret_cast<const T*>(from + pixel * stride);
    for (std::int64_t c = 0; c < channels; ++c) *values++ = items[c] - bias;
  }
}

template <typename T>
void store_as(std::byte* to, std::int64_t stride, std::int64_t pixels, std::int64_t channels,
              std::int64_t bias, const std::int64_t* values) {
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    T* items = reinterpret_cast<T*>(to + pixel * stride);
    for (std::int64_t c = 0; c < channels; ++c) items[c] = static_cast<T>(*values++ + bias);
  }
}

template <typename T>
bool holds(std::int64_t low, std::int64_t high) {
  return std::numeric_limits<T>::min() <= low && high <= std::numeric_limits<T>::max();
}

}  // namespace

Storage storage_of(std::int64_t low, std::int64_t high) {
  if (holds<std::uint8_t>(low, high)) return Storage::kU8;
  if (holds<std::int8_t>(low, high)) return Storage::kS8;
  if (holds<std::int16_t>(low, high)) return Storage::kI16;
  if (holds<std::int32_t>(low, high)) return Storage::kI32;
  return Storage::kI64;
}

Storage storage_of(const Tensor& tensor) {
  return storage_of(tensor.interval.lowest(), tensor.interval.highest());
}

std::int64_t item_size(Storage storage) {
  switch (storage) {
    case Storage::kU8:
    case Storage::kS8:
      return 1;
    case Storage::kI16:
      return 2;
    case Storage::kI32:
      return 4;
    default:
      return 8;
  }
}

void View::load(const std::byte* arena, std::int64_t y, std::int64_t x, std::int64_t pixels,
                std::int64_t* values) const {
  const std::byte* from = arena + at(y, x);
  switch (storage) {
    case Storage::kU8:
    case Storage::kS8:
      load_as<std::uint8_t>(from, pixel_stride, pixels, shape.channels, bias_of(storage), values);
      break;
    case Storage::kI16:
      load_as<std::int16_t>(from, pixel_stride, pixels, shape.channels, 0, values);
      break;
    case Storage::kI32:
      load_as<std::int32_t>(from, pixel_stride, pixels, shape.channels, 0, values);
      break;
    case Storage::kI64:
      load_as<std::int64_t>(from, pixel_stride, pixels, shape.channels, 0, values);
      break;
  }
}

void View::store(std::byte* arena, std::int64_t y, std::int64_t x, std::int64_t pixels,
                 const std::int64_t* values) const {
  std::byte* to = arena + at(y, x);
  switch (storage) {
    case Storage::kU8:
    case Storage::kS8:
      store_as<std::uint8_t>(to, pixel_stride, pixels, shape.channels, bias_of(storage), values);
      break;
    case Storage::kI16:
      store_as<std::int16_t>(to, pixel_stride, pixels, shape.channels, 0, values);
      break;
    case Storage::kI32:
      store_as<std::int32_t>(to, pixel_stride, pixels, shape.channels, 0, values);
      break;
    case Storage::kI64:
      store_as<std::int64_t>(to, pixel_stride, pixels, shape.channels, 0, values);
      break;
  }
}

void View::clear_halo(std::byte* arena) const {
  // Zero is all bytes zero, but for biased bytes.
  const int zero = static_cast<int>(bias_of(storage));
  const auto fill = [&](std::int64_t y, std::int64_t x, std::int64_t pixels) {
    if (pixels > 0) std::memset(arena + at(y, x), zero, static_cast<std::size_t>(pixels * pixel_stride));
  };
  const std::int64_t wide = shape.width + halo.left + halo.right;
  for (std::int64_t y = -halo.top; y < 0; ++y) fill(y, -halo.left, wide);
  for (std::int64_t y = 0; y < shape.height; ++y) {
    fill(y, -halo.left, halo.left);
    fill(y, shape.width, halo.right);
  }
  for (std::int64_t y = 0; y < halo.bottom; ++y) fill(shape.height + y, -halo.left, wide);
}

void Sink::write(const Context& context, std::int64_t y, std::int64_t x, std::int64_t pixels,
                 std::int64_t* values) const {
  if (requantizer != nullptr) {
    OverflowCount* count = context.overflows != nullptr ? context.overflows + index : nullptr;
    requantizer->apply(values, static_cast<std::size_t>(pixels * view.shape.channels), count);
  }
  view.store(context.arena, y, x, pixels, values);
}

}  // namespace hwflow
