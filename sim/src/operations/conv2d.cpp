// Convolution with bias: `(sum of weight * input) * 2**shift + bias`, both by output channel.
#include "conv2d.hpp"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "hwflow/error.hpp"

namespace hwflow {
namespace {

class Conv2D final : public Operation {
 public:
  explicit Conv2D(Conv2DParameters conv) : conv_(std::move(conv)) {}

  static std::unique_ptr<Operation> read(const Attributes& attributes) {
    Conv2DParameters conv;
    const Array& weights = attributes.array("weights");
    const Array& biases = attributes.array("biases");
    if (weights.shape.size() != 4) throw ProgramError("weights: must have four axes");
    for (const auto side : weights.shape) {
      if (side < 1 || side > (1 << 20)) throw ProgramError("weights: impossible shape");
    }
    conv.kernel_height = weights.shape[0];
    conv.kernel_width = weights.shape[1];
    conv.group_inputs = weights.shape[2];
    conv.filters = weights.shape[3];
    if (biases.shape != std::vector<std::int64_t>{conv.filters}) {
      throw ProgramError("biases: must have one for each of the " +
                         std::to_string(conv.filters) + " filters");
    }
    std::tie(conv.stride_y, conv.stride_x) = steps(attributes, "strides");
    if (attributes.has("dilation")) {
      std::tie(conv.dilation_y, conv.dilation_x) = steps(attributes, "dilation");
    }
    conv.padding = attributes.padding();
    conv.groups = attributes.integer("groups");
    if (conv.groups < 1 || conv.filters % conv.groups != 0) {
      throw ProgramError("groups: must divide the filters");
    }
    conv.product_shift = attributes.integer("product_shift");
    if (conv.product_shift < 0 || conv.product_shift > 62) {
      throw ProgramError("product_shift: must be from 0 to 62");
    }
    conv.shifts.assign(static_cast<std::size_t>(conv.filters), conv.product_shift);
    if (attributes.has("channel_shifts")) add_channel_shifts(attributes, conv);
    conv.weight_fraction_bits = attributes.format("weight_format").fraction_bits();
    conv.weights = weights.values;
    const auto [least, greatest] = std::minmax_element(conv.weights.begin(), conv.weights.end());
    conv.least_weight = *least;
    conv.greatest_weight = *greatest;
    conv.biases = biases.values;
    return std::make_unique<Conv2D>(std::move(conv));
  }

  Tensor infer(std::span<const Tensor* const> sources) const override {
    const Tensor& source = only(sources);
    require_undivided(source);
    const Shape& in = source.shape;
    if (in.channels % conv_.groups != 0 || in.channels / conv_.groups != conv_.group_inputs) {
      throw ProgramError("weights in " + std::to_string(conv_.groups) + " groups do not fit " +
                         std::to_string(in.channels) + " input channels");
    }
    Tensor tensor;
    const Padding& padding = conv_.padding;
    tensor.shape = {window_count(in.height, padding.top, padding.bottom, conv_.reach_y(),
                                 conv_.stride_y),
                    window_count(in.width, padding.left, padding.right, conv_.reach_x(),
                                 conv_.stride_x),
                    conv_.filters};
    tensor.interval = reach(source.interval);
    // The running sum starts at zero and passes through its parts.
    tensor.format = FixedPoint::containing(
        std::min<std::int64_t>(tensor.interval.lowest(), 0),
        std::max<std::int64_t>(tensor.interval.highest(), 0),
        source.format.fraction_bits() + conv_.weight_fraction_bits + conv_.product_shift);
    return tensor;
  }

  Padding halo(const Target& target, const Tensor& source, const Tensor& result) const override {
    const ConvMethod method = choose_method(conv_, target, source, result);
    const bool needed = method == ConvMethod::kBytes || method == ConvMethod::kDepthwise;
    return needed ? conv_.padding : Padding{};
  }

  std::int64_t scratch(const Target& target, const Tensor& source,
                       const Tensor& result) const override {
    const bool needed = choose_method(conv_, target, source, result) == ConvMethod::kShorts;
    return needed ? widened_bytes(conv_, source.shape) : 0;
  }

  bool fuses(const Target& target, const Tensor& source, const Tensor& result,
             const Requantizer& requantizer, const Tensor& requantized) const override {
    return choose_method(conv_, target, source, result) == ConvMethod::kPortable ||
           can_finish(result, requantizer, requantized);
  }

  Steps steps(const Target& target, const Site& site) const override {
    const ConvMethod method = choose_method(conv_, target, *site.sources[0], *site.result);
    switch (method) {
      case ConvMethod::kPortable:
        return portable_conv_steps(conv_, site);
      case ConvMethod::kDepthwise:
        return depthwise_steps(conv_, target, site);
      default:
        return gemm_steps(conv_, target, site, method);
    }
  }

 private:
  // Rows and columns of an attribute.
  static std::pair<std::int64_t, std::int64_t> steps(const Attributes& attributes,
                                                     const char* key) {
    const auto given = attributes.integers(key, 2);
    for (const auto step : given) {
      if (step < 1 || step > (1 << 20)) throw ProgramError(std::string(key) + ": out of range");
    }
    return {given[0], given[1]};
  }

  static void add_channel_shifts(const Attributes& attributes, Conv2DParameters& conv) {
    const Array& by_channel = attributes.array("channel_shifts");
    if (by_channel.shape != std::vector<std::int64_t>{conv.filters}) {
      throw ProgramError("channel_shifts: must have one for each of the " +
                         std::to_string(conv.filters) + " filters");
    }
    for (std::size_t filter = 0; filter < conv.shifts.size(); ++filter) {
      const std::int64_t bits = by_channel.values[filter];
      if (bits < 0 || bits > 62 - conv.product_shift) {
        throw ProgramError("channel_shifts: must be from 0 to 62, product_shift included");
      }
      conv.shifts[filter] += bits;
    }
  }

  // What each filter can reach over the actual weights; with padding's zeros, and the partial sums.
  Interval reach(const Interval& source) const {
    const auto filters = static_cast<std::size_t>(conv_.filters);
    std::vector<__int128> low(filters, 0);
    std::vector<__int128> high(filters, 0);
    const std::int64_t taps = conv_.kernel_height * conv_.kernel_width;
    const std::int64_t* weights = conv_.weights.data();
    for (std::int64_t line = 0; line < taps * conv_.group_inputs; ++line) {
      for (std::int64_t filter = 0; filter < conv_.filters; ++filter) {
        const __int128 weight = *weights++;
        const auto channel = static_cast<std::size_t>(
            filter / conv_.group_filters() * conv_.group_inputs + line % conv_.group_inputs);
        const __int128 least = std::min<std::int64_t>(source.low[channel], 0);
        const __int128 most = std::max<std::int64_t>(source.high[channel], 0);
        auto& down = low[static_cast<std::size_t>(filter)];
        auto& up = high[static_cast<std::size_t>(filter)];
        down += weight * (weight > 0 ? least : most);
        up += weight * (weight > 0 ? most : least);
        // Within 64 bits after every term, so that 128 bits are never left.
        narrowed(down);
        narrowed(up);
      }
    }
    Interval result;
    for (std::size_t filter = 0; filter < filters; ++filter) {
      const __int128 unit = std::int64_t{1} << conv_.shifts[filter];
      result.low.push_back(narrowed(low[filter] * unit + conv_.biases[filter]));
      result.high.push_back(narrowed(high[filter] * unit + conv_.biases[filter]));
    }
    return result;
  }

  Conv2DParameters conv_;
};

const RegisterKind kRegistered("conv2d", &Conv2D::read);

// The rows of input that one output row needs, then its sums; arithmetic modulo 2**32 or 2**64,
// which is exact where the proved reach of the result fits.
template <typename Sum>
class PortableConv {
 public:
  PortableConv(const Conv2DParameters& conv, const Site& site)
      : conv_(conv), in_(site.inputs[0]), out_(site.result->shape), sink_(site.sink),
        weights_(conv.weights.begin(), conv.weights.end()) {
    conv_.weights.clear();
    for (const auto bits : conv.shifts) {
      units_.push_back(bits < std::numeric_limits<Sum>::digits ? static_cast<Sum>(Sum{1} << bits)
                                                               : Sum{0});
    }
  }

  void rows(const Context& context, std::int64_t first, std::int64_t last) const {
    const std::int64_t wide = in_.shape.width * in_.shape.channels;
    std::vector<std::int64_t> loaded(static_cast<std::size_t>(wide));
    std::vector<Sum> lines(static_cast<std::size_t>(wide * conv_.kernel_height));
    std::vector<Sum> sums(static_cast<std::size_t>(conv_.filters));
    std::vector<std::int64_t> row(static_cast<std::size_t>(out_.width * conv_.filters));
    for (std::int64_t y = first; y < last; ++y) {
      const std::int64_t top = y * conv_.stride_y - conv_.padding.top;
      for (std::int64_t ky = 0; ky < conv_.kernel_height; ++ky) {
        const std::int64_t from = top + ky * conv_.dilation_y;
        if (from < 0 || from >= in_.shape.height) continue;
        in_.load(context.arena, from, 0, in_.shape.width, loaded.data());
        std::copy(loaded.begin(), loaded.end(), lines.begin() + ky * wide);
      }
      for (std::int64_t x = 0; x < out_.width; ++x) {
        pixel(lines.data(), top, x, sums.data());
        for (std::int64_t f = 0; f < conv_.filters; ++f) {
          const auto at = static_cast<std::size_t>(f);
          const auto bias = static_cast<Sum>(conv_.biases[at]);
          const Sum sum = static_cast<Sum>(sums[at] * units_[at]) + bias;
          row[static_cast<std::size_t>(x * conv_.filters + f)] =
              static_cast<std::make_signed_t<Sum>>(sum);
        }
      }
      sink_.write(context, y, 0, out_.width, row.data());
    }
  }

 private:
  void pixel(const Sum* lines, std::int64_t top, std::int64_t x, Sum* sums) const {
    std::fill(sums, sums + conv_.filters, Sum{0});
    const std::int64_t left = x * conv_.stride_x - conv_.padding.left;
    for (std::int64_t ky = 0; ky < conv_.kernel_height; ++ky) {
      const std::int64_t from_y = top + ky * conv_.dilation_y;
      if (from_y < 0 || from_y >= in_.shape.height) continue;
      for (std::int64_t kx = 0; kx < conv_.kernel_width; ++kx) {
        const std::int64_t from_x = left + kx * conv_.dilation_x;
        if (from_x < 0 || from_x >= in_.shape.width) continue;
        const Sum* values = lines + (ky * in_.shape.width + from_x) * in_.shape.channels;
        const Sum* weights =
            weights_.data() + (ky * conv_.kernel_width + kx) * conv_.group_inputs * conv_.filters;
        if (conv_.is_depthwise()) {
          for (std::int64_t c = 0; c < conv_.filters; ++c) sums[c] += values[c] * weights[c];
        } else {
          tap(values, weights, sums);
        }
      }
    }
  }

  void tap(const Sum* values, const Sum* weights, Sum* sums) const {
    const std::int64_t filters = conv_.group_filters();
    for (std::int64_t group = 0; group < conv_.groups; ++group) {
      for (std::int64_t input = 0; input < conv_.group_inputs; ++input) {
        const Sum value = values[group * conv_.group_inputs + input];
        if (value == 0) continue;
        const Sum* line = weights + input * conv_.filters + group * filters;
        Sum* to = sums + group * filters;
        for (std::int64_t f = 0; f < filters; ++f) to[f] += value * line[f];
      }
    }
  }

  Conv2DParameters conv_;
  View in_;
  Shape out_;
  Sink sink_;
  std::vector<Sum> weights_;
  std::vector<Sum> units_;  // by filter
};

template <typename Sum>
Steps portable_steps(const Conv2DParameters& conv, const Site& site) {
  auto rows = std::make_shared<const PortableConv<Sum>>(conv, site);
  return one_step(site.result->shape.height,
                  [rows](const Context& context, std::int64_t first, std::int64_t last) {
                    rows->rows(context, first, last);
                  });
}

bool weights_within(const Conv2DParameters& conv, std::int64_t low, std::int64_t high) {
  return low <= conv.least_weight && conv.greatest_weight <= high;
}

}  // namespace

std::int64_t Conv2DParameters::weight_sum(std::int64_t filter) const {
  std::int64_t sum = 0;
  for (auto at = static_cast<std::size_t>(filter); at < weights.size();
       at += static_cast<std::size_t>(filters)) {
    sum += weights[at];
  }
  return sum;
}

ConvMethod choose_method(const Conv2DParameters& conv, const Target& target, const Tensor& source,
                         const Tensor& result) {
  const Storage storage = storage_of(source);
  if (target.kernels == nullptr || !is_int32(result)) return ConvMethod::kPortable;
  if (!is_byte(storage) && storage != Storage::kI16) return ConvMethod::kPortable;
  const bool bytes = is_byte(storage) && weights_within(conv, -128, 127);
  if (bytes && conv.is_depthwise()) return ConvMethod::kDepthwise;
  if (bytes && target.kernels->gemm_bytes != nullptr) return ConvMethod::kBytes;
  return weights_within(conv, -32768, 32767) ? ConvMethod::kShorts : ConvMethod::kPortable;
}

Steps portable_conv_steps(const Conv2DParameters& conv, const Site& site) {
  return is_int32(*site.result) ? portable_steps<std::uint32_t>(conv, site)
                                : portable_steps<std::uint64_t>(conv, site);
}

}  // namespace hwflow
