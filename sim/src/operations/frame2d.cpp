// A map in another frame: rows and columns cut off, or zeros around it.
#include <algorithm>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {
namespace {

constexpr std::int64_t kLargestSide = 1 << 20;

class Frame2D final : public Operation {
 public:
  explicit Frame2D(const Padding& padding) : padding_(padding) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    const auto sides = attributes.integers("padding", 4);
    for (const std::int64_t side : sides) {
      if (side < -kLargestSide || side > kLargestSide) throw ProgramError("padding: out of range");
    }
    return std::make_unique<Frame2D>(Padding{sides[0], sides[1], sides[2], sides[3]});
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    const Shape& in = source.shape;
    const auto cut = [](std::int64_t side) { return std::min<std::int64_t>(side, 0); };
    if (in.height + cut(padding_.top) + cut(padding_.bottom) < 1 ||
        in.width + cut(padding_.left) + cut(padding_.right) < 1) {
      throw ProgramError("cuts off all of its pixels");
    }
    Tensor tensor;
    tensor.shape = {in.height + padding_.top + padding_.bottom,
                    in.width + padding_.left + padding_.right, in.channels};
    tensor.interval = source.interval;
    if (std::max({padding_.top, padding_.bottom, padding_.left, padding_.right}) > 0) {
      for (auto& low : tensor.interval.low) low = std::min<std::int64_t>(low, 0);
      for (auto& high : tensor.interval.high) high = std::max<std::int64_t>(high, 0);
    }
    tensor.format = FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(),
                                           source.format.fraction_bits());
    return tensor;
  }

  Steps steps(const Target&, const Site& site) const override {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    const Shape out = site.result->shape;
    const Padding padding = padding_;
    return one_step(out.height, [=](const Context& context, std::int64_t first,
                                    std::int64_t last) {
      // Of an output row: the columns that the input has.
      const std::int64_t start = std::max<std::int64_t>(padding.left, 0);
      const std::int64_t end = std::min(padding.left + in.shape.width, out.width);
      std::vector<std::int64_t> row(static_cast<std::size_t>(out.width * out.channels));
      for (std::int64_t y = first; y < last; ++y) {
        const std::int64_t from = y - padding.top;
        std::fill(row.begin(), row.end(), 0);
        if (from >= 0 && from < in.shape.height) {
          in.load(context.arena, from, start - padding.left, end - start,
                  row.data() + start * out.channels);
        }
        sink.write(context, y, 0, out.width, row.data());
      }
    });
  }

 private:
  Padding padding_;
};

const RegisterKind kRegistered("frame2d", &Frame2D::read);

}  // namespace
}  // namespace hwflow
