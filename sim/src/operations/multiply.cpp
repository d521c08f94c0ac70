// Product of two tensors; the second may be a single pixel, which scales every pixel.
#include <algorithm>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {
namespace {

class Multiply final : public Operation {
 public:
  static std::unique_ptr<Operation> read(const Attributes&) {
    return std::make_unique<Multiply>();
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    if (sources.size() != 2) throw ProgramError("must have two inputs");
    const Tensor& first = *sources[0];
    const Tensor& second = *sources[1];
    require_undivided(first);
    require_undivided(second);
    const Shape gate{1, 1, first.shape.channels};
    if (!(second.shape == first.shape) && !(second.shape == gate)) {
      throw ProgramError("cannot multiply shapes " + first.shape.text() + " and " +
                         second.shape.text());
    }
    Tensor tensor;
    tensor.shape = first.shape;
    for (std::size_t c = 0; c < first.interval.low.size(); ++c) {
      const __int128 low = first.interval.low[c];
      const __int128 high = first.interval.high[c];
      const auto& other = second.interval;
      const __int128 corners[] = {low * other.low[c], low * other.high[c], high * other.low[c],
                                  high * other.high[c]};
      tensor.interval.low.push_back(narrowed(*std::min_element(corners, corners + 4)));
      tensor.interval.high.push_back(narrowed(*std::max_element(corners, corners + 4)));
    }
    tensor.format =
        FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(),
                               first.format.fraction_bits() + second.format.fraction_bits());
    return tensor;
  }

  bool fuses(const Target&, const Tensor&, const Tensor&, const Requantizer&,
             const Tensor&) const override {
    return true;
  }

  Steps steps(const Target&, const Site& site) const override {
    const View first_view = site.inputs[0];
    const View second_view = site.inputs[1];
    const Sink sink = site.sink;
    return one_step(first_view.shape.height, [first_view, second_view, sink](
                                                 const Context& context, std::int64_t first,
                                                 std::int64_t last) {
      const bool is_gate = !(second_view.shape == first_view.shape);
      const std::int64_t width = first_view.shape.width;
      std::vector<std::int64_t> row(static_cast<std::size_t>(width * first_view.shape.channels));
      std::vector<std::int64_t> factors(
          static_cast<std::size_t>(second_view.shape.width * second_view.shape.channels));
      for (std::int64_t y = first; y < last; ++y) {
        first_view.load(context.arena, y, 0, width, row.data());
        second_view.load(context.arena, is_gate ? 0 : y, 0, second_view.shape.width,
                         factors.data());
        for (std::size_t i = 0; i < row.size(); ++i) row[i] *= factors[i % factors.size()];
        sink.write(context, y, 0, width, row.data());
      }
    });
  }
};

const RegisterKind kRegistered("multiply", &Multiply::read);

}  // namespace
}  // namespace hwflow
