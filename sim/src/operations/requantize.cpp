// To a narrower format: shifted or divided, rounded, brought into the range.
#include <algorithm>
#include <limits>
#include <optional>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

namespace hwflow {
namespace {

class Requantize final : public Operation {
 public:
  Requantize(const FixedPoint& format, std::int64_t fraction_bits, std::int64_t divisor,
             std::optional<std::int64_t> maximum)
      : format_(format), fraction_bits_(fraction_bits), divisor_(divisor), maximum_(maximum) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<Requantize>(attributes.format("format"),
                                        attributes.integer("fraction_bits"),
                                        attributes.integer("divisor"),
                                        attributes.optional_integer("maximum"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    if (fraction_bits_ != source.format.fraction_bits() || divisor_ != source.divisor) {
      throw ProgramError("its fraction bits and divisor are not those of its input");
    }
    const bool saturates =
        format_.overflow == Overflow::kSat || format_.overflow == Overflow::kSatSym;
    if (maximum_ &&
        (*maximum_ < format_.minimum() || *maximum_ > format_.maximum() || !saturates)) {
      throw ProgramError("a maximum of " + std::to_string(*maximum_) + " does not suit " +
                         format_.text());
    }
    const auto& reach = source.interval;
    requantizer_.emplace(format_, fraction_bits_, divisor_, reach.lowest(), reach.highest(),
                         maximum_.value_or(std::numeric_limits<std::int64_t>::max()));
    Tensor tensor{source.shape, format_, 1, {}};
    const std::size_t channels = reach.low.size();
    if (format_.overflow == Overflow::kWrap || format_.overflow == Overflow::kSatZero) {
      tensor.interval.low.assign(channels, format_.minimum());
      tensor.interval.high.assign(channels, format_.maximum());
    } else {
      for (std::size_t c = 0; c < channels; ++c) {
        tensor.interval.low.push_back((*requantizer_)(reach.low[c]));
        tensor.interval.high.push_back((*requantizer_)(reach.high[c]));
      }
    }
    return tensor;
  }

  const Requantizer* requantizer() const override { return &*requantizer_; }

  Steps steps(const Target& target, const Site& site) const override {
    const Storage from = site.inputs[0].storage;
    if (target.kernels != nullptr && (from == Storage::kI16 || from == Storage::kI32) &&
        can_finish(*site.sources[0], *requantizer_, *site.result)) {
      return kernel_steps(target, site);
    }
    const View in = site.inputs[0];
    Sink sink = site.sink;
    sink.requantizer = &*requantizer_;
    return one_step(in.shape.height, [in, sink](const Context& context, std::int64_t first,
                                                std::int64_t last) {
      std::vector<std::int64_t> row(static_cast<std::size_t>(in.shape.width * in.shape.channels));
      for (std::int64_t y = first; y < last; ++y) {
        in.load(context.arena, y, 0, in.shape.width, row.data());
        sink.write(context, y, 0, in.shape.width, row.data());
      }
    });
  }

 private:
  Steps kernel_steps(const Target& target, const Site& site) const {
    constexpr std::int64_t kLeast = std::numeric_limits<std::int32_t>::min();
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    const View in = site.inputs[0];
    const View out = site.sink.view;
    const std::size_t index = site.sink.index;
    const bool rows = in.is_dense() && out.is_dense();
    const std::int64_t count = in.shape.channels * (rows ? in.shape.width : 1);
    const std::int64_t parts = rows ? 1 : in.shape.width;
    const RequantizeTask task{nullptr, in.storage == Storage::kI16, count, nullptr,
                              finish_of(&*requantizer_, *site.result)};
    // Where nothing but clipping can happen, what leaves the range is all that is counted.
    const OutsideTask outside{nullptr,
                              task.is_short,
                              count,
                              task.finish,
                              static_cast<std::int32_t>(std::max(format_.minimum(), kLeast)),
                              static_cast<std::int32_t>(std::min(format_.maximum(), kMost)),
                              0,
                              0};
    const Kernels& kernels = *target.kernels;
    return one_step(in.shape.height, [=, &kernels](const Context& context, std::int64_t first,
                                                   std::int64_t last) {
      RequantizeTask part = task;
      OutsideTask counted = outside;
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < parts; ++x) {
          part.input = counted.input = context.arena + in.at(y, x);
          part.output = reinterpret_cast<std::uint8_t*>(context.arena + out.at(y, x));
          kernels.requantize(part);
          if (context.overflows != nullptr) kernels.count_outside(counted);
        }
      }
      if (context.overflows != nullptr) {
        context.overflows[index].saturated += counted.below + counted.above;
        context.overflows[index].below += counted.below;
      }
    });
  }

  FixedPoint format_;
  std::int64_t fraction_bits_;
  std::int64_t divisor_;
  std::optional<std::int64_t> maximum_;
  mutable std::optional<Requantizer> requantizer_;  // once the input's reach is known
};

const RegisterKind kRegistered("requantize", &Requantize::read);

}  // namespace
}  // namespace hwflow
