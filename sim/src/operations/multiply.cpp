// Product of two tensors; the second may be a single pixel, which scales every pixel.
#include <algorithm>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

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

  Steps steps(const Target& target, const Site& site) const override {
    if (by_kernel(target, site)) return kernel_steps(target, site);
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

 private:
  // Bytes, multiplied in 32 bits.
  static bool by_kernel(const Target& target, const Site& site) {
    if (target.kernels == nullptr || !is_byte(site.inputs[0].storage) ||
        !is_byte(site.inputs[1].storage) || !is_int32(*site.result)) {
      return false;
    }
    if (site.requantized != nullptr) {
      return can_finish(*site.result, *site.sink.requantizer, *site.requantized);
    }
    return site.sink.view.storage != Storage::kI64;
  }

  static Steps kernel_steps(const Target& target, const Site& site) {
    const View left = site.inputs[0];
    const View right = site.inputs[1];
    const View out = site.sink.view;
    const bool is_gate = !(right.shape == left.shape);
    // A row at once where pixels lie side by side.
    const bool rows = !is_gate && left.is_dense() && right.is_dense() && out.is_dense();
    MultiplyTask task{};
    task.left_bias = static_cast<std::int32_t>(bias_of(left.storage));
    task.right_bias = static_cast<std::int32_t>(bias_of(right.storage));
    task.count = out.shape.channels * (rows ? out.shape.width : 1);
    task.finish = finish_of(site.sink.requantizer,
                            site.requantized != nullptr ? *site.requantized : *site.result);
    const auto kernel = target.kernels->multiply;
    return one_step(out.shape.height, [=](const Context& context, std::int64_t first,
                                          std::int64_t last) {
      const auto at = [&](const View& view, std::int64_t y, std::int64_t x) {
        return reinterpret_cast<std::uint8_t*>(context.arena + view.at(y, x));
      };
      MultiplyTask part = task;
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < (rows ? 1 : out.shape.width); ++x) {
          part.left = at(left, y, x);
          part.right = is_gate ? at(right, 0, 0) : at(right, y, x);
          part.output = at(out, y, x);
          kernel(part);
        }
      }
    });
  }
};

const RegisterKind kRegistered("multiply", &Multiply::read);

}  // namespace
}  // namespace hwflow
