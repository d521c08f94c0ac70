// Every pixel repeated along rows and columns.
#include <algorithm>

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

  Steps steps(const Target&, const Site& site) const override {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    const Upsample2D factors = factors_;
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      const std::int64_t channels = in.shape.channels;
      const std::int64_t width = in.shape.width * factors.columns;
      std::vector<std::int64_t> row(static_cast<std::size_t>(in.shape.width * channels));
      std::vector<std::int64_t> wide(static_cast<std::size_t>(width * channels));
      for (std::int64_t y = first; y < last; ++y) {
        in.load(context.arena, y, 0, in.shape.width, row.data());
        for (std::int64_t x = 0; x < width; ++x) {
          std::copy_n(row.data() + x / factors.columns * channels, channels,
                      wide.data() + x * channels);
        }
        for (std::int64_t copy = 0; copy < factors.rows; ++copy) {
          sink.write(context, y * factors.rows + copy, 0, width, wide.data());
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
