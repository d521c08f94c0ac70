// To a narrower format: shifted or divided, rounded, brought into the range.
#include <limits>
#include <optional>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {
namespace {

class Requantize final : public Operation {
 public:
  Requantize(const FixedPoint& format, std::int64_t fraction_bits, std::int64_t divisor,
             std::optional<std::int64_t> maximum)
      : format_(format), fraction_bits_(fraction_bits), divisor_(divisor), maximum_(maximum) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    std::optional<std::int64_t> maximum;
    for (const auto& [key, value] : attributes.json.object(attributes.where)) {
      if (key == "maximum") maximum = value.integer(attributes.where + ".maximum");
    }
    return std::make_unique<Requantize>(attributes.format("format"),
                                        attributes.integer("fraction_bits"),
                                        attributes.integer("divisor"), maximum);
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

  Steps steps(const Target&, const Site& site) const override {
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
  FixedPoint format_;
  std::int64_t fraction_bits_;
  std::int64_t divisor_;
  std::optional<std::int64_t> maximum_;
  mutable std::optional<Requantizer> requantizer_;  // once the input's reach is known
};

const RegisterKind kRegistered("requantize", &Requantize::read);

}  // namespace
}  // namespace hwflow
