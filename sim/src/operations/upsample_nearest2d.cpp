// Every pixel repeated along rows and columns.
#include <cstring>

#include "upsample2d.hpp"

namespace hwflow {
namespace {

class UpsampleNearest2D final : public Operation {
 public:
  explicit UpsampleNearest2D(const Upsample2D& factors) : factors_(factors) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<UpsampleNearest2D>(Upsample2D::read(attributes));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    return {factors_.shape(source.shape),
            FixedPoint::containing(source.interval.lowest(), source.interval.highest(),
                                   source.format.fraction_bits()),
            1, source.interval};
  }

  // Its result has the source's values, so that they are copied as they lie in memory.
  Steps steps(const Target&, const Site& site) const override {
    const View in = site.inputs[0];
    const View out = site.sink.view;
    const Upsample2D factors = factors_;
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      const auto pixel = static_cast<std::size_t>(in.shape.channels * item_size(in.storage));
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < out.shape.width; ++x) {
          std::memcpy(context.arena + out.at(y * factors.rows, x),
                      context.arena + in.at(y, x / factors.columns), pixel);
        }
        for (std::int64_t copy = 1; copy < factors.rows; ++copy) {
          std::byte* to = context.arena + out.at(y * factors.rows + copy, 0);
          const std::byte* from = context.arena + out.at(y * factors.rows, 0);
          if (out.is_dense()) {
            std::memcpy(to, from, pixel * static_cast<std::size_t>(out.shape.width));
            continue;
          }
          for (std::int64_t x = 0; x < out.shape.width; ++x) {
            std::memcpy(to + x * out.pixel_stride, from + x * out.pixel_stride, pixel);
          }
        }
      }
    });
  }

 private:
  Upsample2D factors_;
};

const RegisterKind kRegistered("upsample_nearest2d", &UpsampleNearest2D::read);

}  // namespace
}  // namespace hwflow
