// Sum over windows, the integer half of average pooling; padding counts as zero.
#include "hwflow/target.hpp"
#include "pool2d.hpp"

namespace hwflow {
namespace {

class SumPool2D final : public Operation {
 public:
  explicit SumPool2D(const Pool2D& pool) : pool_(pool) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<SumPool2D>(Pool2D::read(attributes));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    const std::int64_t size = pool_.window_height * pool_.window_width;
    Tensor tensor{pool_.shape(source.shape), {}, size, source.interval};
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
    const bool small = site.result->divisor <= 1 << 22;  // biased bytes cannot leave 32 bits
    if (target.kernels != nullptr && is_byte(site.inputs[0].storage) && small &&
        is_int32(*site.result)) {
      return byte_steps(target, site);
    }
    return pool_.portable_steps(site, 0, [](std::int64_t a, std::int64_t b) { return a + b; });
  }

 private:
  Steps byte_steps(const Target& target, const Site& site) const {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    const Shape out = site.result->shape;
    const Pool2D pool = pool_;
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
          std::copy(sums.begin(), sums.end(), values.begin());
          sink.write(context, y, x, 1, values.data());
        }
      }
    });
  }

  Pool2D pool_;
};

const RegisterKind kRegistered("sum_pool2d", &SumPool2D::read);

}  // namespace
}  // namespace hwflow
