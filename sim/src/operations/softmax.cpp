// Softmax over the channels of each pixel, in whole numbers.
#include <algorithm>
#include <limits>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

namespace hwflow {
namespace {

class Softmax final : public Operation {
 public:
  Softmax(std::vector<std::int64_t> table, const FixedPoint& format)
      : table_(std::move(table)), format_(format) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    const Array& table = attributes.array("table");
    if (table.shape.size() != 1) throw ProgramError("table: must be a list");
    return std::make_unique<Softmax>(table.values, attributes.format("format"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    if (table_.empty() || !std::is_sorted(table_.rbegin(), table_.rend()) || table_.back() < 0 ||
        table_.front() < 1) {
      throw ProgramError("its table must be whole numbers that do not rise, from above zero");
    }
    if (format_.is_signed || format_.integer_bits != 1) {
      throw ProgramError("its format must be unsigned with one integer bit, not " +
                         format_.text());
    }
    const __int128 farthest =
        static_cast<__int128>(source.interval.highest()) - source.interval.lowest();
    if (table_.back() != 0 && farthest >= static_cast<__int128>(table_.size())) {
      throw ProgramError("its table must reach every distance, or end with zero");
    }
    narrowed(farthest);
    const __int128 largest =
        static_cast<__int128>(table_.front()) * source.shape.channels;
    // A width of 64 bits leaves no room for the products.
    if (format_.width > 62) throw ProgramError("its results are too wide");
    narrowed(static_cast<__int128>(narrowed(largest)) * (__int128{1} << format_.width));
    const std::size_t channels = source.interval.low.size();
    Tensor tensor{source.shape, format_, 1, {}};
    tensor.interval.low.assign(channels, 0);
    tensor.interval.high.assign(channels, std::int64_t{1} << (format_.width - 1));
    return tensor;
  }

  Steps steps(const Target& target, const Site& site) const override {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    if (by_kernel(target, in)) return kernel_steps(target, in, sink);
    return one_step(in.shape.height, [this, in, sink](const Context& context, std::int64_t first,
                                                      std::int64_t last) {
      std::vector<std::int64_t> pixel(static_cast<std::size_t>(in.shape.channels));
      const auto end = static_cast<std::int64_t>(table_.size()) - 1;
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < in.shape.width; ++x) {
          in.load(context.arena, y, x, 1, pixel.data());
          const std::int64_t greatest = *std::max_element(pixel.begin(), pixel.end());
          std::int64_t sum = 0;
          for (auto& value : pixel) {
            value = table_[static_cast<std::size_t>(std::min(greatest - value, end))];
            sum += value;
          }
          for (auto& value : pixel) {
            const std::int64_t share = value << (format_.width - 1);
            const std::int64_t quotient = share / sum;
            const std::int64_t twice = 2 * (share - quotient * sum);
            value = quotient + (twice > sum || (twice == sum && quotient % 2 != 0) ? 1 : 0);
          }
          sink.write(context, y, x, 1, pixel.data());
        }
      }
    });
  }

 private:
  // A quotient in double precision lies on the right side of every tie: it is at least half a part
  // of the sum away from it, or on it, and its error is less.
  bool by_kernel(const Target& target, const View& in) const {
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    return target.kernels != nullptr && is_byte(in.storage) && format_.width <= 20 &&
           table_.front() <= most / in.shape.channels;
  }

  Steps kernel_steps(const Target& target, const View& in, const Sink& sink) const {
    std::vector<std::int32_t> table(256);
    for (std::size_t distance = 0; distance < table.size(); ++distance) {
      table[distance] = static_cast<std::int32_t>(table_[std::min(distance, table_.size() - 1)]);
    }
    const auto softmax = target.kernels->softmax;
    const auto scale = static_cast<double>(std::int64_t{1} << (format_.width - 1));
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      std::vector<std::int32_t> parts(static_cast<std::size_t>(in.shape.channels));
      std::vector<std::int64_t> row(static_cast<std::size_t>(in.shape.width * in.shape.channels));
      for (std::int64_t y = first; y < last; ++y) {
        softmax({reinterpret_cast<const std::uint8_t*>(context.arena + in.at(y, 0)),
                 in.pixel_stride, in.shape.width, static_cast<std::int32_t>(in.shape.channels),
                 table.data(), scale, parts.data(), row.data()});
        sink.write(context, y, 0, in.shape.width, row.data());
      }
    });
  }

  std::vector<std::int64_t> table_;
  FixedPoint format_;
};

const RegisterKind kRegistered("softmax", &Softmax::read);

}  // namespace
}  // namespace hwflow
