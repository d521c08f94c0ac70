// Bilinear interpolation with half-pixel centres, in whole weights.
#include <algorithm>
#include <limits>

#include "hwflow/target.hpp"
#include "upsample2d.hpp"

namespace hwflow {
namespace {

// Parts of a whole that the weights count along one axis.
std::int64_t weight_unit(std::int64_t factor) { return factor % 2 == 0 ? 2 * factor : factor; }

// What an output row (or column) is interpolated from.
struct Taps {
  std::int64_t above = 0;
  std::int64_t below = 0;
  std::int64_t weight = 0;  // of the one below

  static Taps of(std::int64_t output, std::int64_t size, std::int64_t factor) {
    const std::int64_t unit = weight_unit(factor);
    const std::int64_t place = (2 * output + 1 - factor) * unit / (2 * factor);  // divides exactly
    const std::int64_t floor = place < 0 ? -1 : place / unit;
    return {std::max<std::int64_t>(floor, 0), std::min(floor + 1, size - 1), place - floor * unit};
  }
};

// Both weights of an interpolation as the kernels take them.
std::int32_t packed_weights(const Taps& taps, std::int64_t factor) {
  return static_cast<std::int32_t>(taps.weight << 16 | (weight_unit(factor) - taps.weight));
}

class UpsampleBilinear2D final : public Operation {
 public:
  explicit UpsampleBilinear2D(const Upsample2D& factors) : factors_(factors) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<UpsampleBilinear2D>(Upsample2D::read(attributes));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    const std::int64_t scale = weight_unit(factors_.rows) * weight_unit(factors_.columns);
    std::int64_t twos = 0;
    while ((scale >> twos) % 2 == 0) ++twos;
    Tensor tensor{factors_.shape(source.shape), {}, scale >> twos, source.interval};
    for (auto& low : tensor.interval.low) low = narrowed(static_cast<__int128>(low) * scale);
    for (auto& high : tensor.interval.high) high = narrowed(static_cast<__int128>(high) * scale);
    tensor.format = FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(),
                                           source.format.fraction_bits() + twos);
    return tensor;
  }

  bool fuses(const Target&, const Tensor&, const Tensor&, const Requantizer&,
             const Tensor&) const override {
    return true;
  }

  Steps steps(const Target& target, const Site& site) const override {
    if (by_kernel(target, site)) return kernel_steps(target, site);
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    const Upsample2D factors = factors_;
    const Shape out = site.result->shape;
    return one_step(out.height, [=](const Context& context, std::int64_t first,
                                    std::int64_t last) {
      const std::int64_t channels = in.shape.channels;
      const auto size = static_cast<std::size_t>(in.shape.width * channels);
      std::vector<std::int64_t> above(size);
      std::vector<std::int64_t> below(size);
      std::vector<std::int64_t> row(static_cast<std::size_t>(out.width * channels));
      for (std::int64_t y = first; y < last; ++y) {
        const Taps rows = Taps::of(y, in.shape.height, factors.rows);
        in.load(context.arena, rows.above, 0, in.shape.width, above.data());
        in.load(context.arena, rows.below, 0, in.shape.width, below.data());
        const std::int64_t rest = weight_unit(factors.rows) - rows.weight;
        for (std::size_t i = 0; i < size; ++i) above[i] = above[i] * rest + below[i] * rows.weight;
        for (std::int64_t x = 0; x < out.width; ++x) {
          const Taps columns = Taps::of(x, in.shape.width, factors.columns);
          const std::int64_t* left = above.data() + columns.above * channels;
          const std::int64_t* right = above.data() + columns.below * channels;
          const std::int64_t other = weight_unit(factors.columns) - columns.weight;
          std::int64_t* to = row.data() + x * channels;
          for (std::int64_t c = 0; c < channels; ++c) {
            to[c] = left[c] * other + right[c] * columns.weight;
          }
        }
        sink.write(context, y, 0, out.width, row.data());
      }
    });
  }

 private:
  // Bytes, blended along rows in 16 bits and along columns in 32.
  bool by_kernel(const Target& target, const Site& site) const {
    constexpr std::int64_t most = std::numeric_limits<std::int16_t>::max() / 255;
    if (target.kernels == nullptr || !is_byte(site.inputs[0].storage) ||
        !is_int32(*site.result) || weight_unit(factors_.rows) > most ||
        weight_unit(factors_.columns) > most || !site.sink.view.is_dense()) {
      return false;
    }
    return site.requantized == nullptr ||
           can_finish(*site.result, *site.sink.requantizer, *site.requantized);
  }

  Steps kernel_steps(const Target& target, const Site& site) const {
    const View in = site.inputs[0];
    const View view = site.sink.view;
    const Upsample2D factors = factors_;
    const Shape out = site.result->shape;
    std::vector<std::int64_t> taps;
    std::vector<std::int32_t> weights;
    for (std::int64_t x = 0; x < out.width; ++x) {
      const Taps columns = Taps::of(x, in.shape.width, factors.columns);
      taps.push_back(columns.above * in.pixel_stride);
      taps.push_back(columns.below * in.pixel_stride);
      weights.push_back(packed_weights(columns, factors.columns));
    }
    BlendTask blend{};
    blend.constant = -static_cast<std::int32_t>(
        bias_of(in.storage) * weight_unit(factors.rows) * weight_unit(factors.columns));
    blend.count = out.width * out.channels;
    blend.finish = finish_of(site.sink.requantizer,
                             site.requantized != nullptr ? *site.requantized : *site.result);
    const Kernels* kernels = target.kernels;
    return one_step(out.height, [=](const Context& context, std::int64_t first,
                                    std::int64_t last) {
      const auto size = static_cast<std::size_t>(blend.count + kernels->lanes);
      std::vector<std::int16_t> rows[2] = {std::vector<std::int16_t>(size),
                                           std::vector<std::int16_t>(size)};
      std::int64_t held[2] = {-1, -1};  // which of the input's rows they were made of
      const auto stretched = [&](std::int64_t y) {
        const auto slot = static_cast<std::size_t>(y % 2);  // both rows are neighbours or one
        if (held[slot] != y) {
          held[slot] = y;
          kernels->stretch({reinterpret_cast<const std::uint8_t*>(context.arena + in.at(y, 0)),
                            taps.data(), weights.data(), out.width,
                            static_cast<std::int32_t>(out.channels), rows[slot].data()});
        }
        return rows[slot].data();
      };
      BlendTask row = blend;
      for (std::int64_t y = first; y < last; ++y) {
        const Taps between = Taps::of(y, in.shape.height, factors.rows);
        row.first = stretched(between.above);
        row.second = stretched(between.below);
        row.weights = packed_weights(between, factors.rows);
        row.output = reinterpret_cast<std::uint8_t*>(context.arena + view.at(y, 0));
        kernels->blend(row);
      }
    });
  }

  Upsample2D factors_;
};

const RegisterKind kRegistered("upsample_bilinear2d", &UpsampleBilinear2D::read);

}  // namespace
}  // namespace hwflow
