// Sum of tensors of one shape, each aligned by a left shift.
#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

namespace hwflow {
namespace {

class Add final : public Operation {
 public:
  explicit Add(std::vector<std::int64_t> shifts) : shifts_(std::move(shifts)) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<Add>(attributes.integers("shifts"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    if (sources.empty() || sources.size() != shifts_.size()) {
      throw ProgramError("must have as many shifts as inputs, and at least one");
    }
    Tensor tensor;
    tensor.shape = sources[0]->shape;
    const std::int64_t unit = shifted_unit(*sources[0], shifts_[0]);
    const auto channels = static_cast<std::size_t>(tensor.shape.channels);
    tensor.interval.low.assign(channels, 0);
    tensor.interval.high.assign(channels, 0);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const Tensor& source = *sources[i];
      require_undivided(source);
      if (!(source.shape == tensor.shape)) {
        throw ProgramError("cannot add shapes " + tensor.shape.text() + " and " +
                           source.shape.text());
      }
      if (shifted_unit(source, shifts_[i]) != unit) {
        throw ProgramError("its shifts do not align its inputs");
      }
      for (std::size_t c = 0; c < channels; ++c) {
        auto& low = tensor.interval.low[c];
        auto& high = tensor.interval.high[c];
        low = narrowed(static_cast<__int128>(low) + shifted(source.interval.low[c], shifts_[i]));
        high = narrowed(static_cast<__int128>(high) + shifted(source.interval.high[c], shifts_[i]));
      }
    }
    tensor.format =
        FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(), unit);
    return tensor;
  }

  bool fuses(const Target&, const Tensor&, const Tensor&, const Requantizer&,
             const Tensor&) const override {
    return true;
  }

  Steps steps(const Target& target, const Site& site) const override {
    if (by_kernel(target, site)) return kernel_steps(target, site);
    const auto inputs = site.inputs;
    const auto shifts = shifts_;
    const Sink sink = site.sink;
    const Shape shape = site.result->shape;
    return one_step(shape.height, [inputs, shifts, sink, shape](const Context& context,
                                                                std::int64_t first,
                                                                std::int64_t last) {
      const auto size = static_cast<std::size_t>(shape.width * shape.channels);
      std::vector<std::int64_t> row(size);
      std::vector<std::int64_t> sum(size);
      for (std::int64_t y = first; y < last; ++y) {
        std::fill(sum.begin(), sum.end(), 0);
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          inputs[i].load(context.arena, y, 0, shape.width, row.data());
          const std::int64_t factor = std::int64_t{1} << shifts[i];
          for (std::size_t k = 0; k < size; ++k) sum[k] += row[k] * factor;
        }
        sink.write(context, y, 0, shape.width, sum.data());
      }
    });
  }

 private:
  // Two byte tensors that lie without gaps within a row, summed in 32 bits.
  bool by_kernel(const Target& target, const Site& site) const {
    if (target.kernels == nullptr || site.inputs.size() != 2) return false;
    const auto dense = [](const View& view) {
      return is_byte(view.storage) && view.pixel_stride == view.shape.channels;
    };
    const View& out = site.sink.view;
    if (!dense(site.inputs[0]) || !dense(site.inputs[1]) || !is_int32(*site.result) ||
        shifts_[0] > 20 || shifts_[1] > 20 ||
        out.pixel_stride != out.shape.channels * item_size(out.storage)) {
      return false;
    }
    return site.requantized == nullptr ||
           can_finish(*site.result, *site.sink.requantizer, *site.requantized);
  }

  Steps kernel_steps(const Target& target, const Site& site) const {
    const View left = site.inputs[0];
    const View right = site.inputs[1];
    const View out = site.sink.view;
    AddTask task{};
    task.left_shift = static_cast<std::int32_t>(shifts_[0]);
    task.right_shift = static_cast<std::int32_t>(shifts_[1]);
    task.constant = -static_cast<std::int32_t>((bias_of(left.storage) << shifts_[0]) +
                                               (bias_of(right.storage) << shifts_[1]));
    task.count = out.shape.width * out.shape.channels;
    task.finish = finish_of(site.sink.requantizer,
                            site.requantized != nullptr ? *site.requantized : *site.result);
    const auto kernel = target.kernels->add;
    return one_step(out.shape.height, [=](const Context& context, std::int64_t first,
                                          std::int64_t last) {
      const auto at = [&](const View& view, std::int64_t y) {
        return reinterpret_cast<std::uint8_t*>(context.arena + view.at(y, 0));
      };
      AddTask row = task;
      for (std::int64_t y = first; y < last; ++y) {
        row.left = at(left, y);
        row.right = at(right, y);
        row.output = at(out, y);
        kernel(row);
      }
    });
  }

  std::vector<std::int64_t> shifts_;
};

const RegisterKind kRegistered("add", &Add::read);

}  // namespace
}  // namespace hwflow
