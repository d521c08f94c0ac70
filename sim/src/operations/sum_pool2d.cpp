// Sum over windows, the integer half of average pooling.
#include <optional>

#include "hwflow/target.hpp"
#include "pool2d.hpp"

namespace hwflow {
namespace {

class SumPool2D final : public Operation {
 public:
  SumPool2D(const Pool2D& pool, std::optional<std::int64_t> divisor)
      : pool_(pool), divisor_(divisor) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<SumPool2D>(Pool2D::read(attributes),
                                       attributes.optional_integer("divisor"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    const std::int64_t size = divisor_.value_or(pool_.window_height * pool_.window_width);
    Tensor tensor{pool_.shape(source.shape), {}, size, source.interval};
    if (divisor_) check_divisor(source.shape, tensor.shape);
    // The running sum starts at zero, so zero is always among what it reaches.
    for (auto& low : tensor.interval.low) {
      low = std::min<std::int64_t>(narrowed(static_cast<__int128>(low) * size), 0);
    }
    for (auto& high : tensor.interval.high) {
      high = std::max<std::int64_t>(narrowed(static_cast<__int128>(high) * size), 0);
    }
    tensor.format = FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(),
                                           source.format.fraction_bits());
    return tensor;
  }

  bool fuses(const Target&, const Tensor&, const Tensor&, const Requantizer&,
             const Tensor&) const override {
    return true;
  }

  Steps steps(const Target& target, const Site& site) const override {
    // biased bytes cannot leave 32 bits
    const bool small = pool_.window_height * pool_.window_width <= 1 << 22;
    if (target.kernels != nullptr && is_byte(site.inputs[0].storage) && small &&
        is_int32(*site.result)) {
      return byte_steps(target, site);
    }
    const Pool2D pool = pool_;
    const auto divisor = divisor_;
    const Shape shape = site.inputs[0].shape;
    return pool_.portable_steps(
        site, 0, [](std::int64_t a, std::int64_t b) { return a + b; },
        [=](std::int64_t y, std::int64_t x) { return factor(pool, divisor, shape, y, x); });
  }

 private:
  static std::int64_t pixels(const Pool2D& pool, const Shape& in, std::int64_t y, std::int64_t x) {
    const Range rows = pool.rows(y, in);
    const Range columns = pool.columns(x, in);
    return (rows.last - rows.first) * (columns.last - columns.first);
  }

  // What the sum of a window is multiplied with, so that one divisor suits every window.
  static std::int64_t factor(const Pool2D& pool, std::optional<std::int64_t> divisor,
                             const Shape& in, std::int64_t y, std::int64_t x) {
    return divisor ? *divisor / pixels(pool, in, y, x) : 1;
  }

  void check_divisor(const Shape& in, const Shape& out) const {
    for (std::int64_t y = 0; y < out.height; ++y) {
      for (std::int64_t x = 0; x < out.width; ++x) {
        const std::int64_t count = pixels(pool_, in, y, x);
        if (*divisor_ < 1 || count < 1 || *divisor_ % count != 0) {
          throw ProgramError("its divisor of " + std::to_string(*divisor_) +
                             " is no multiple of every window's number of pixels");
        }
      }
    }
  }

  Steps byte_steps(const Target& target, const Site& site) const {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    const Shape out = site.result->shape;
    const Pool2D pool = pool_;
    const auto divisor = divisor_;
    const auto sum = target.kernels->sum;
    return one_step(out.height, [=](const Context& context, std::int64_t first,
                                    std::int64_t last) {
      std::vector<std::int32_t> sums(static_cast<std::size_t>(in.shape.channels));
      std::vector<std::int64_t> values(sums.size());
      for (std::int64_t y = first; y < last; ++y) {
        const Range rows = pool.rows(y, in.shape);
        for (std::int64_t x = 0; x < out.width; ++x) {
          const Range columns = pool.columns(x, in.shape);
          sum({reinterpret_cast<const std::uint8_t*>(context.arena +
                                                     in.at(rows.first, columns.first)),
               in.row_stride, in.pixel_stride, rows.last - rows.first,
               columns.last - columns.first, in.shape.channels, sums.data()});
          const std::int64_t pixels = (rows.last - rows.first) * (columns.last - columns.first);
          const auto excess = static_cast<std::int32_t>(pixels * bias_of(in.storage));
          for (auto& value : sums) value -= excess;
          const std::int64_t scale = factor(pool, divisor, in.shape, y, x);
          for (std::size_t c = 0; c < sums.size(); ++c) values[c] = sums[c] * scale;
          sink.write(context, y, x, 1, values.data());
        }
      }
    });
  }

  Pool2D pool_;
  std::optional<std::int64_t> divisor_;
};

const RegisterKind kRegistered("sum_pool2d", &SumPool2D::read);

}  // namespace
}  // namespace hwflow
