// The network's input, already quantized to its tensor's format.
#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {
namespace {

class Input final : public Operation {
 public:
  Input(const Shape& shape, const FixedPoint& format) : shape_(shape), format_(format) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    const auto shape = attributes.integers("shape", 3);
    return std::make_unique<Input>(Shape{shape[0], shape[1], shape[2]},
                                   attributes.format("format"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    if (!sources.empty()) throw ProgramError("an input reads nothing");
    if (shape_.channels < 1 || shape_.channels > (1 << 20)) {
      throw ProgramError("impossible shape " + shape_.text());
    }
    const auto channels = static_cast<std::size_t>(shape_.channels);
    return {shape_, format_, 1,
            {std::vector<std::int64_t>(channels, format_.minimum()),
             std::vector<std::int64_t>(channels, format_.maximum())}};
  }

  // The engine puts the caller's images in place.
  Steps steps(const Target&, const Site&) const override { return {}; }

 private:
  Shape shape_;
  FixedPoint format_;
};

const RegisterKind kRegistered("input", &Input::read);

}  // namespace
}  // namespace hwflow
