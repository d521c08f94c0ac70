// What both poolings share: windows clipped to the image.
#pragma once

#include <algorithm>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {

struct Range {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

struct Pool2D {
  std::int64_t window_height = 1;
  std::int64_t window_width = 1;
  std::int64_t stride_y = 1;
  std::int64_t stride_x = 1;
  Padding padding;

  static Pool2D read(const Attributes& attributes) {
    const auto window = attributes.integers("window", 2);
    const auto strides = attributes.integers("strides", 2);
    for (const auto side : {window[0], window[1], strides[0], strides[1]}) {
      if (side < 1 || side > (1 << 20)) throw ProgramError("impossible window or strides");
    }
    return {window[0], window[1], strides[0], strides[1], attributes.padding()};
  }

  Shape shape(const Shape& in) const {
    if (std::max(padding.top, padding.bottom) >= window_height ||
        std::max(padding.left, padding.right) >= window_width) {
      throw ProgramError("a window would hold padding alone");
    }
    return {window_count(in.height, padding.top, padding.bottom, window_height, stride_y),
            window_count(in.width, padding.left, padding.right, window_width, stride_x),
            in.channels};
  }

  // The rows and the columns of the image under a window.
  Range rows(std::int64_t y, const Shape& in) const {
    const std::int64_t start = y * stride_y - padding.top;
    return {std::max<std::int64_t>(start, 0), std::min(start + window_height, in.height)};
  }
  Range columns(std::int64_t x, const Shape& in) const {
    const std::int64_t start = x * stride_x - padding.left;
    return {std::max<std::int64_t>(start, 0), std::min(start + window_width, in.width)};
  }

  // Folds every window with `fold(result, value)` from `start`, multiplies it by `factor(y, x)` and
  // gives rows to the sink.
  template <typename Fold, typename Factor>
  Steps portable_steps(const Site& site, std::int64_t start, Fold fold, Factor factor) const {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    const Shape out = site.result->shape;
    const Pool2D pool = *this;
    return one_step(out.height, [=](const Context& context, std::int64_t first,
                                    std::int64_t last) {
      const auto channels = static_cast<std::size_t>(in.shape.channels);
      std::vector<std::int64_t> pixel(channels);
      std::vector<std::int64_t> row(static_cast<std::size_t>(out.width) * channels);
      for (std::int64_t y = first; y < last; ++y) {
        std::fill(row.begin(), row.end(), start);
        const Range rows = pool.rows(y, in.shape);
        for (std::int64_t x = 0; x < out.width; ++x) {
          const Range columns = pool.columns(x, in.shape);
          std::int64_t* result = row.data() + static_cast<std::size_t>(x) * channels;
          for (std::int64_t iy = rows.first; iy < rows.last; ++iy) {
            for (std::int64_t ix = columns.first; ix < columns.last; ++ix) {
              in.load(context.arena, iy, ix, 1, pixel.data());
              for (std::size_t c = 0; c < channels; ++c) result[c] = fold(result[c], pixel[c]);
            }
          }
          const std::int64_t scale = factor(y, x);
          for (std::size_t c = 0; c < channels; ++c) result[c] *= scale;
        }
        sink.write(context, y, 0, out.width, row.data());
      }
    });
  }
};

}  // namespace hwflow
