// A function of one value, as its results for every value that the input can have.
#include <algorithm>
#include <array>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

namespace hwflow {
namespace {

class Table final : public Operation {
 public:
  Table(std::vector<std::int64_t> values, const FixedPoint& format, bool is_signed)
      : values_(std::move(values)), format_(format), is_signed_(is_signed) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    const Array& values = attributes.array("values");
    if (values.shape.size() != 1) throw ProgramError("values: must be a list");
    return std::make_unique<Table>(values.values, attributes.format("format"),
                                   attributes.at("is_signed").boolean("is_signed"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    const FixedPoint& input = source.format;
    if (input.width > 24 || values_.size() != std::size_t{1} << input.width ||
        is_signed_ != input.is_signed) {
      throw ProgramError("its table is not one of every value of " + input.text());
    }
    for (const std::int64_t value : values_) {
      if (value < format_.minimum() || value > format_.maximum()) {
        throw ProgramError("its results leave the range of " + format_.text());
      }
    }
    Tensor tensor{source.shape, format_, 1, {}};
    for (std::size_t c = 0; c < source.interval.low.size(); ++c) {
      const auto first = values_.begin() + source.interval.low[c] + offset();
      const auto last = values_.begin() + source.interval.high[c] + offset() + 1;
      tensor.interval.low.push_back(*std::min_element(first, last));
      tensor.interval.high.push_back(*std::max_element(first, last));
    }
    return tensor;
  }

  Steps steps(const Target& target, const Site& site) const override {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    if (is_byte(in.storage) && is_byte(sink.view.storage)) return byte_steps(target, in, sink.view);
    return one_step(in.shape.height, [this, in, sink](const Context& context, std::int64_t first,
                                                      std::int64_t last) {
      std::vector<std::int64_t> row(static_cast<std::size_t>(in.shape.width * in.shape.channels));
      for (std::int64_t y = first; y < last; ++y) {
        in.load(context.arena, y, 0, in.shape.width, row.data());
        for (auto& value : row) value = values_[static_cast<std::size_t>(value + offset())];
        sink.write(context, y, 0, in.shape.width, row.data());
      }
    });
  }

 private:
  // From byte to byte as both lie in memory, biased or not.
  Steps byte_steps(const Target& target, const View& in, const View& out) const {
    std::array<std::uint8_t, 256> table{};
    for (std::int64_t stored = 0; stored < 256; ++stored) {
      const std::int64_t index = stored - bias_of(in.storage) + offset();
      if (index < 0 || index >= static_cast<std::int64_t>(values_.size())) continue;
      table[static_cast<std::size_t>(stored)] = static_cast<std::uint8_t>(
          values_[static_cast<std::size_t>(index)] + bias_of(out.storage));
    }
    const bool rows = in.is_dense() && out.is_dense();
    const std::int64_t count = in.shape.channels * (rows ? in.shape.width : 1);
    const std::int64_t parts = rows ? 1 : in.shape.width;
    const auto lookup = target.kernels != nullptr ? target.kernels->lookup : nullptr;
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < parts; ++x) {
          const auto* from = reinterpret_cast<const std::uint8_t*>(context.arena + in.at(y, x));
          auto* to = reinterpret_cast<std::uint8_t*>(context.arena + out.at(y, x));
          if (lookup != nullptr) {
            lookup(table.data(), from, to, count);
          } else {
            for (std::int64_t i = 0; i < count; ++i) to[i] = table[from[i]];
          }
        }
      }
    });
  }

  std::int64_t offset() const {
    return is_signed_ ? static_cast<std::int64_t>(values_.size() / 2) : 0;
  }

  std::vector<std::int64_t> values_;
  FixedPoint format_;
  bool is_signed_;
};

const RegisterKind kRegistered("table", &Table::read);

}  // namespace
}  // namespace hwflow
