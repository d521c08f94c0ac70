// Maximum over windows; padding never wins.
#include <limits>

#include "hwflow/target.hpp"
#include "pool2d.hpp"

namespace hwflow {
namespace {

class MaxPool2D final : public Operation {
 public:
  explicit MaxPool2D(const Pool2D& pool) : pool_(pool) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<MaxPool2D>(Pool2D::read(attributes));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    return {pool_.shape(source.shape),
            FixedPoint::containing(source.interval.lowest(), source.interval.highest(),
                                   source.format.fraction_bits()),
            1, source.interval};
  }

  Steps steps(const Target& target, const Site& site) const override {
    const View& in = site.inputs[0];
    if (target.kernels != nullptr && is_byte(in.storage)) return byte_steps(target, site);
    return pool_.portable_steps(
        site, std::numeric_limits<std::int64_t>::min(),
        [](std::int64_t a, std::int64_t b) { return a > b ? a : b; },
        [](std::int64_t, std::int64_t) { return std::int64_t{1}; });
  }

 private:
  // Biased or not, the order of bytes is that of their values.
  Steps byte_steps(const Target& target, const Site& site) const {
    const View in = site.inputs[0];
    const View out = site.sink.view;
    const Pool2D pool = pool_;
    const auto maximum = target.kernels->maximum;
    return one_step(out.shape.height, [=](const Context& context, std::int64_t first,
                                          std::int64_t last) {
      const auto at = [&](const View& view, std::int64_t y, std::int64_t x) {
        return reinterpret_cast<std::uint8_t*>(context.arena + view.at(y, x));
      };
      for (std::int64_t y = first; y < last; ++y) {
        const Range rows = pool.rows(y, in.shape);
        for (std::int64_t x = 0; x < out.shape.width; ++x) {
          const Range columns = pool.columns(x, in.shape);
          maximum({at(in, rows.first, columns.first), in.row_stride, in.pixel_stride,
                   rows.last - rows.first, columns.last - columns.first, in.shape.channels,
                   at(out, y, x)});
        }
      }
    });
  }

  Pool2D pool_;
};

const RegisterKind kRegistered("max_pool2d", &MaxPool2D::read);

}  // namespace
}  // namespace hwflow
