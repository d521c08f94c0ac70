// Tensors side by side along the channels, each aligned by a left shift.
#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {
namespace {

class Concatenate final : public Operation {
 public:
  explicit Concatenate(std::vector<std::int64_t> shifts) : shifts_(std::move(shifts)) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<Concatenate>(attributes.integers("shifts"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    if (sources.empty() || sources.size() != shifts_.size()) {
      throw ProgramError("must have as many shifts as inputs, and at least one");
    }
    Tensor tensor;
    tensor.shape = {sources[0]->shape.height, sources[0]->shape.width, 0};
    const std::int64_t unit = shifted_unit(*sources[0], shifts_[0]);
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const Tensor& source = *sources[i];
      require_undivided(source);
      if (source.shape.height != tensor.shape.height || source.shape.width != tensor.shape.width) {
        throw ProgramError("cannot concatenate shapes " + sources[0]->shape.text() + " and " +
                           source.shape.text());
      }
      tensor.shape.channels += source.shape.channels;
      for (std::size_t c = 0; c < source.interval.low.size(); ++c) {
        tensor.interval.low.push_back(shifted(source.interval.low[c], shifts_[i]));
        tensor.interval.high.push_back(shifted(source.interval.high[c], shifts_[i]));
      }
      if (shifted_unit(source, shifts_[i]) != unit) {
        throw ProgramError("its shifts do not align its inputs");
      }
    }
    tensor.format =
        FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(), unit);
    return tensor;
  }

  bool joins(std::size_t input) const override { return shifts_[input] == 0; }

  Steps steps(const Target&, const Site& site) const override {
    Steps all;
    std::int64_t channel = 0;
    for (std::size_t i = 0; i < site.inputs.size(); ++i) {
      const View in = site.inputs[i];
      View out = site.sink.view;
      out.offset += channel * item_size(out.storage);
      out.shape = in.shape;
      channel += in.shape.channels;
      if (in.offset == out.offset) continue;  // made in place
      const std::int64_t factor = std::int64_t{1} << shifts_[i];
      for (auto& step : one_step(in.shape.height, [in, out, factor](const Context& context,
                                                                    std::int64_t first,
                                                                    std::int64_t last) {
             std::vector<std::int64_t> row(
                 static_cast<std::size_t>(in.shape.width * in.shape.channels));
             for (std::int64_t y = first; y < last; ++y) {
               in.load(context.arena, y, 0, in.shape.width, row.data());
               for (auto& value : row) value *= factor;
               out.store(context.arena, y, 0, in.shape.width, row.data());
             }
           })) {
        all.push_back(std::move(step));
      }
    }
    return all;
  }

 private:
  std::vector<std::int64_t> shifts_;
};

const RegisterKind kRegistered("concatenate", &Concatenate::read);

}  // namespace
}  // namespace hwflow
