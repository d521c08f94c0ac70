// Channels in another order, or some of them.
#include <cstring>

#include "hwflow/error.hpp"
#include "hwflow/execution.hpp"

namespace hwflow {
namespace {

// Neighbours in the input that are neighbours in the result too.
struct Run {
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::int64_t length = 0;
};

class SelectChannels final : public Operation {
 public:
  explicit SelectChannels(std::vector<std::int64_t> channels) : channels_(std::move(channels)) {
    for (std::size_t c = 0; c < channels_.size(); ++c) {
      if (c == 0 || channels_[c] != channels_[c - 1] + 1) {
        runs_.push_back({channels_[c], static_cast<std::int64_t>(c), 0});
      }
      ++runs_.back().length;
    }
  }

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    return std::make_unique<SelectChannels>(attributes.integers("channels"));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    if (channels_.empty()) throw ProgramError("selects no channel");
    Tensor tensor;
    tensor.shape = source.shape;
    tensor.shape.channels = static_cast<std::int64_t>(channels_.size());
    for (const std::int64_t channel : channels_) {
      if (channel < 0 || channel >= source.shape.channels) {
        throw ProgramError("selects channel " + std::to_string(channel) + " of " +
                           std::to_string(source.shape.channels));
      }
      tensor.interval.low.push_back(source.interval.low[static_cast<std::size_t>(channel)]);
      tensor.interval.high.push_back(source.interval.high[static_cast<std::size_t>(channel)]);
    }
    tensor.format = FixedPoint::containing(tensor.interval.lowest(), tensor.interval.highest(),
                                           source.format.fraction_bits());
    return tensor;
  }

  Steps steps(const Target&, const Site& site) const override {
    const View in = site.inputs[0];
    const View out = site.sink.view;
    if (in.storage == out.storage) {
      switch (item_size(in.storage)) {
        case 1: return copies<std::uint8_t>(in, out);
        case 2: return copies<std::uint16_t>(in, out);
        case 4: return copies<std::uint32_t>(in, out);
        default: return copies<std::uint64_t>(in, out);
      }
    }
    const auto channels = channels_;
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      std::vector<std::int64_t> given(static_cast<std::size_t>(in.shape.channels));
      std::vector<std::int64_t> chosen(channels.size());
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < in.shape.width; ++x) {
          in.load(context.arena, y, x, 1, given.data());
          for (std::size_t c = 0; c < chosen.size(); ++c) {
            chosen[c] = given[static_cast<std::size_t>(channels[c])];
          }
          out.store(context.arena, y, x, 1, chosen.data());
        }
      }
    });
  }

 private:
  // Both tensors lie in memory alike: values are moved as they are.
  template <typename Item>
  Steps copies(const View& in, const View& out) const {
    constexpr std::int64_t kLong = 8;  // from here on a block is copied at once
    const bool long_runs = static_cast<std::int64_t>(channels_.size()) >=
                           kLong * static_cast<std::int64_t>(runs_.size());
    const auto channels = channels_;
    const auto runs = runs_;
    return one_step(in.shape.height, [=](const Context& context, std::int64_t first,
                                         std::int64_t last) {
      for (std::int64_t y = first; y < last; ++y) {
        for (std::int64_t x = 0; x < in.shape.width; ++x) {
          const auto* from = reinterpret_cast<const Item*>(context.arena + in.at(y, x));
          auto* to = reinterpret_cast<Item*>(context.arena + out.at(y, x));
          if (long_runs) {
            for (const Run& run : runs) {
              std::memcpy(to + run.to, from + run.from,
                          static_cast<std::size_t>(run.length) * sizeof(Item));
            }
          } else {
            for (std::size_t c = 0; c < channels.size(); ++c) to[c] = from[channels[c]];
          }
        }
      }
    });
  }

  std::vector<std::int64_t> channels_;
  std::vector<Run> runs_;
};

const RegisterKind kRegistered("select_channels", &SelectChannels::read);

}  // namespace
}  // namespace hwflow
