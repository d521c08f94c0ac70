// A convolution's parameters, and the ways to compute it.
#pragma once

#include <algorithm>

#include "hwflow/execution.hpp"
#include "hwflow/target.hpp"

namespace hwflow {

struct Conv2DParameters {
  std::int64_t kernel_height = 1;
  std::int64_t kernel_width = 1;
  std::int64_t group_inputs = 1;  // input channels of a group
  std::int64_t filters = 1;       // output channels of all groups
  std::int64_t stride_y = 1;
  std::int64_t stride_x = 1;
  std::int64_t dilation_y = 1;  // rows from one tap to the next
  std::int64_t dilation_x = 1;
  Padding padding;
  std::int64_t groups = 1;
  std::int64_t product_shift = 0;  // of the unit of the sums
  std::int64_t weight_fraction_bits = 0;
  std::vector<std::int64_t> weights;  // [row][column][input of the group][filter]
  std::vector<std::int64_t> biases;
  std::vector<std::int64_t> shifts;  // of a filter's products, at least product_shift
  std::int64_t least_weight = 0;
  std::int64_t greatest_weight = 0;

  // Rows and columns from the first tap to the last, both counted.
  std::int64_t reach_y() const { return (kernel_height - 1) * dilation_y + 1; }
  std::int64_t reach_x() const { return (kernel_width - 1) * dilation_x + 1; }
  std::int64_t inputs() const { return group_inputs * groups; }
  std::int64_t group_filters() const { return filters / groups; }
  bool is_depthwise() const { return group_inputs == 1 && filters == groups; }
  std::int64_t weight(std::int64_t ky, std::int64_t kx, std::int64_t input,
                      std::int64_t filter) const {
    const std::int64_t at = ((ky * kernel_width + kx) * group_inputs + input) * filters + filter;
    return weights[static_cast<std::size_t>(at)];
  }
  bool shifts_products() const {
    return std::any_of(shifts.begin(), shifts.end(), [](std::int64_t bits) { return bits != 0; });
  }
  // Sum of a filter's weights.
  std::int64_t weight_sum(std::int64_t filter) const;
};

enum class ConvMethod {
  kPortable,
  kBytes,      // words of 4 bytes against int8 weights
  kShorts,     // words of 2 int16, the input widened first
  kDepthwise,  // bytes, channel by channel
};

ConvMethod choose_method(const Conv2DParameters& conv, const Target& target, const Tensor& source,
                         const Tensor& result);

Steps portable_conv_steps(const Conv2DParameters& conv, const Site& site);
Steps gemm_steps(const Conv2DParameters& conv, const Target& target, const Site& site,
                 ConvMethod method);
Steps depthwise_steps(const Conv2DParameters& conv, const Target& target, const Site& site);
// Bytes of the widened input that `kShorts` needs.
std::int64_t widened_bytes(const Conv2DParameters& conv, const Shape& source);

}  // namespace hwflow
