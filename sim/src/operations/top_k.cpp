// The greatest channels of each pixel, equal ones by their index: their indices or their values.
#include <algorithm>
#include <functional>
#include <numeric>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

namespace hwflow {
namespace {

template <bool gives_values>
class TopK final : public Operation {
 public:
  explicit TopK(std::int64_t k) : k_(k) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<TopK>(attributes.integer("k"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    const std::int64_t channels = source.shape.channels;
    if (k_ < 1 || k_ > channels) {
      throw ProgramError("k must be from 1 to its " + std::to_string(channels) + " channels, not " +
                         std::to_string(k_));
    }
    Tensor tensor{{source.shape.height, source.shape.width, k_}, {}, 1, {}};
    const auto count = static_cast<std::size_t>(k_);
    tensor.interval.low.assign(count, 0);
    tensor.interval.high.assign(count, channels - 1);
    if (gives_values) {
      const auto greatest = [&](std::vector<std::int64_t> ends) {
        std::sort(ends.begin(), ends.end(), std::greater<>());
        ends.resize(count);
        return ends;
      };
      tensor.interval = {greatest(source.interval.low), greatest(source.interval.high)};
    }
    tensor.format = FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(),
                                           gives_values ? source.format.fraction_bits() : 0);
    return tensor;
  }

  Steps steps(const Target& target, const Site& site) const override {
    const View in = site.inputs[0];
    const Sink sink = site.sink;
    const std::int64_t k = k_;
    if (k == 1 && target.kernels != nullptr && is_byte(in.storage) &&
        in.shape.channels <= kMostChannels) {
      return kernel_steps(target, in, sink);
    }
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      const auto channels = static_cast<std::size_t>(in.shape.channels);
      std::vector<std::int64_t> pixel(channels);
      std::vector<std::int64_t> order(channels);
      std::vector<std::int64_t> best(static_cast<std::size_t>(k));
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < in.shape.width; ++x) {
          in.load(context.arena, y, x, 1, pixel.data());
          std::iota(order.begin(), order.end(), 0);
          std::partial_sort(order.begin(), order.begin() + k, order.end(),
                            [&](std::int64_t a, std::int64_t b) {
                              const std::int64_t left = pixel[static_cast<std::size_t>(a)];
                              const std::int64_t right = pixel[static_cast<std::size_t>(b)];
                              return left != right ? left > right : a < b;
                            });
          for (std::size_t i = 0; i < best.size(); ++i) {
            best[i] = gives_values ? pixel[static_cast<std::size_t>(order[i])] : order[i];
          }
          sink.write(context, y, x, 1, best.data());
        }
      }
    });
  }

 private:
  static constexpr std::int64_t kMostChannels = 1 << 16;

  // The greatest alone, of bytes.
  static Steps kernel_steps(const Target& target, const View& in, const Sink& sink) {
    const auto greatest = target.kernels->greatest;
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      std::vector<std::int64_t> row(static_cast<std::size_t>(in.shape.width));
      for (std::int64_t y = first; y < last; ++y) {
        greatest({reinterpret_cast<const std::uint8_t*>(context.arena + in.at(y, 0)),
                  in.pixel_stride, in.shape.width, static_cast<std::int32_t>(in.shape.channels),
                  row.data()});
        for (auto& key : row) {
          key = gives_values ? (key >> 16) - bias_of(in.storage)
                             : kMostChannels - 1 - (key & (kMostChannels - 1));
        }
        sink.write(context, y, 0, in.shape.width, row.data());
      }
    });
  }

  std::int64_t k_;
};

const RegisterKind kIndices("top_k_indices", &TopK<false>::read);
const RegisterKind kValues("top_k_values", &TopK<true>::read);

}  // namespace
}  // namespace hwflow
