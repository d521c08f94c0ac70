// Convolutions by the kernels: weights packed once, pixels read where they lie.
#include <algorithm>
#include <cstring>

#include "conv2d.hpp"

namespace hwflow {
namespace {

// Output pixels in a unit of work: a few blocks of the kernels' registers.
constexpr std::int64_t kUnitPixels = 60;

// Memory for packed weights, aligned for vector loads.
struct alignas(64) Line {
  std::byte bytes[64];
};

class Packed {
 public:
  explicit Packed(std::int64_t size) : lines_(static_cast<std::size_t>(size / 64 + 1)) {
    std::memset(lines_.data(), 0, lines_.size() * sizeof(Line));
  }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(lines_.data());
  }
  const std::byte* data() const { return lines_.front().bytes; }

 private:
  std::vector<Line> lines_;
};

// Bytes from the first tap of a window to another.
std::int64_t tap_offset(const Conv2DParameters& conv, const View& in, std::int64_t ky,
                        std::int64_t kx) {
  return ky * conv.dilation_y * in.row_stride + kx * conv.dilation_x * in.pixel_stride;
}

// The runs of input items that lie side by side under a filter.
struct Segments {
  std::vector<std::int64_t> offsets;  // bytes
  std::int64_t length = 0;            // items
  bool whole_rows = false;            // a segment is a row of the filter, not a pixel

  Segments(const Conv2DParameters& conv, const View& in) {
    const std::int64_t item = item_size(in.storage);
    whole_rows = conv.groups == 1 && in.pixel_stride == conv.group_inputs * item &&
                 conv.dilation_x == 1;
    length = conv.group_inputs * (whole_rows ? conv.kernel_width : 1);
    for (std::int64_t ky = 0; ky < conv.kernel_height; ++ky) {
      for (std::int64_t kx = 0; kx < (whole_rows ? 1 : conv.kernel_width); ++kx) {
        offsets.push_back(tap_offset(conv, in, ky, kx));
      }
    }
  }
};

std::int32_t corrected_bias(const Conv2DParameters& conv, std::int64_t filter, std::int64_t zero) {
  // Modulo 2**32, as the sums are; a shift of 32 and more leaves nothing of them.
  const std::uint64_t excess = static_cast<std::uint64_t>(conv.weight_sum(filter)) *
                               static_cast<std::uint64_t>(zero)
                               << conv.shifts[static_cast<std::size_t>(filter)];
  const auto bias = static_cast<std::uint64_t>(conv.biases[static_cast<std::size_t>(filter)]);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(bias - excess));
}

struct Panel {
  std::int64_t group = 0;
  std::int64_t filter = 0;  // the first, of all groups
  std::int32_t vectors = 1;
  std::int32_t channels = 1;
  std::int64_t weights = 0;  // bytes from the start
  std::int64_t biases = 0;   // items from the start
};

class Gemm {
 public:
  Gemm(const Conv2DParameters& conv, const Kernels& kernels, const View& in, const Site& site,
       ConvMethod method)
      : in_(in), sink_(site.sink), out_(site.result->shape), segments_(conv, in),
        kernel_(method == ConvMethod::kBytes ? kernels.gemm_bytes : kernels.gemm_shorts),
        word_(method == ConvMethod::kBytes ? 4 : 2), lanes_(kernels.lanes),
        depth_((segments_.length + word_ - 1) / word_), weights_(0) {
    stride_y_ = conv.stride_y;
    stride_x_ = conv.stride_x;
    group_bytes_ = conv.group_inputs * item_size(in.storage);
    origin_y_ = -conv.padding.top;
    origin_x_ = -conv.padding.left;
    finish_ = finish_of(sink_.requantizer,
                        site.requantized != nullptr ? *site.requantized : *site.result);
    lay_out_panels(conv, kernels.max_vectors);
    for (const Panel& panel : panels_) {
      if (method == ConvMethod::kBytes) {
        pack<std::int8_t>(conv, panel);
      } else {
        pack<std::int16_t>(conv, panel);
      }
      for (std::int64_t f = 0; f < panel.channels; ++f) {
        biases_[static_cast<std::size_t>(panel.biases + f)] =
            corrected_bias(conv, panel.filter + f, bias_of(in.storage));
        if (!shifts_.empty()) {
          shifts_[static_cast<std::size_t>(panel.biases + f)] = static_cast<std::int32_t>(
              conv.shifts[static_cast<std::size_t>(panel.filter + f)]);
        }
      }
    }
  }

  std::int64_t blocks() const { return (out_.pixels() + kUnitPixels - 1) / kUnitPixels; }
  std::int64_t units() const { return static_cast<std::int64_t>(panels_.size()) * blocks(); }

  void run(const Context& context, std::int64_t first, std::int64_t last) const {
    GemmTask task{};
    task.input_row = stride_y_ * in_.row_stride;
    task.input_pixel = stride_x_ * in_.pixel_stride;
    task.segments = segments_.offsets.data();
    task.segment_count = static_cast<std::int32_t>(segments_.offsets.size());
    task.depth = static_cast<std::int32_t>(depth_);
    task.width = out_.width;
    task.output_row = sink_.view.row_stride;
    task.output_pixel = sink_.view.pixel_stride;
    task.finish = finish_;
    while (first < last) {
      const Panel& panel = panels_[static_cast<std::size_t>(first / blocks())];
      const std::int64_t start = first % blocks();
      const std::int64_t count = std::min(last - first, blocks() - start);
      task.first = start * kUnitPixels;
      task.last = std::min((start + count) * kUnitPixels, out_.pixels());
      task.input = reinterpret_cast<const std::uint8_t*>(context.arena) +
                   in_.at(origin_y_, origin_x_) + panel.group * group_bytes_;
      task.weights = weights_.data() + panel.weights;
      task.biases = biases_.data() + panel.biases;
      task.shifts = shifts_.empty() ? nullptr : shifts_.data() + panel.biases;
      task.vectors = panel.vectors;
      task.channels = panel.channels;
      task.output = reinterpret_cast<std::uint8_t*>(context.arena) + sink_.view.offset +
                    panel.filter * item_size(sink_.view.storage);
      kernel_(task);
      first += count;
    }
  }

 private:
  void lay_out_panels(const Conv2DParameters& conv, std::int64_t max_vectors) {
    std::int64_t weights = 0;
    std::int64_t biases = 0;
    for (std::int64_t group = 0; group < conv.groups; ++group) {
      const std::int64_t filters = conv.group_filters();
      for (std::int64_t done = 0; done < filters;) {
        Panel panel;
        const std::int64_t vectors = std::min((filters - done + lanes_ - 1) / lanes_, max_vectors);
        panel.group = group;
        panel.filter = group * filters + done;
        panel.vectors = static_cast<std::int32_t>(vectors);
        panel.channels = static_cast<std::int32_t>(std::min(vectors * lanes_, filters - done));
        panel.weights = weights;
        panel.biases = biases;
        weights += static_cast<std::int64_t>(segments_.offsets.size()) * depth_ * vectors * lanes_ * 4;
        biases += vectors * lanes_;
        done += panel.channels;
        panels_.push_back(panel);
      }
    }
    weights_ = Packed(weights);
    biases_.assign(static_cast<std::size_t>(biases), 0);
    if (conv.shifts_products()) shifts_.assign(static_cast<std::size_t>(biases), 0);
  }

  template <typename T>
  void pack(const Conv2DParameters& conv, const Panel& panel) {
    T* to = reinterpret_cast<T*>(weights_.as<std::byte>() + panel.weights);
    const auto segments = static_cast<std::int64_t>(segments_.offsets.size());
    for (std::int64_t segment = 0; segment < segments; ++segment) {
      for (std::int64_t at = 0; at < segments_.length; ++at) {
        // A segment is one tap, or one row of taps after another.
        const std::int64_t tap = segments_.whole_rows
                                     ? segment * conv.kernel_width + at / conv.group_inputs
                                     : segment;
        const std::int64_t word = segment * depth_ + at / word_;
        T* words = to + word * panel.vectors * lanes_ * word_ + at % word_;
        for (std::int64_t f = 0; f < panel.channels; ++f) {
          words[f * word_] = static_cast<T>(
              conv.weight(0, tap, at % conv.group_inputs, panel.filter + f));
        }
      }
    }
  }

  View in_;
  Sink sink_;
  Shape out_;
  Segments segments_;
  void (*kernel_)(const GemmTask&);
  std::int64_t word_;  // items in a word
  std::int64_t lanes_;
  std::int64_t depth_;
  std::int64_t stride_y_ = 1;
  std::int64_t stride_x_ = 1;
  std::int64_t group_bytes_ = 0;
  std::int64_t origin_y_ = 0;
  std::int64_t origin_x_ = 0;
  Finish finish_;
  std::vector<Panel> panels_;
  Packed weights_;
  std::vector<std::int32_t> biases_;
  std::vector<std::int32_t> shifts_;  // empty where nothing is shifted
};

// Copies the input as int16 with its padding around it.
std::unique_ptr<Step> widen_step(const View& in, const View& out, const Kernels& kernels) {
  const auto widen = kernels.widen;
  return std::make_unique<Step>(StepWork{
      out.shape.height, [in, out, widen](const Context& context, std::int64_t first,
                                         std::int64_t last) {
        const auto pixels_at_once =
            in.pixel_stride == in.shape.channels * item_size(in.storage) ? in.shape.width : 1;
        const std::int64_t count = pixels_at_once * in.shape.channels;
        for (std::int64_t y = first; y < last; ++y) {
          for (std::int64_t x = 0; x < in.shape.width; x += pixels_at_once) {
            const std::byte* from = context.arena + in.at(y, x);
            std::byte* to = context.arena + out.at(y, x);
            if (is_byte(in.storage)) {
              widen(reinterpret_cast<std::int16_t*>(to),
                    reinterpret_cast<const std::uint8_t*>(from), count,
                    static_cast<std::int32_t>(bias_of(in.storage)));
            } else {
              std::memcpy(to, from, static_cast<std::size_t>(count * 2));
            }
          }
        }
      }});
}

class Depthwise {
 public:
  Depthwise(const Conv2DParameters& conv, const Kernels& kernels, const Site& site)
      : in_(site.inputs[0]), sink_(site.sink), out_(site.result->shape),
        kernel_(kernels.depthwise), weights_(0), stride_y_(conv.stride_y),
        origin_y_(-conv.padding.top), origin_x_(-conv.padding.left) {
    for (std::int64_t ky = 0; ky < conv.kernel_height; ++ky) {
      for (std::int64_t kx = 0; kx < conv.kernel_width; ++kx) {
        taps_.push_back(tap_offset(conv, in_, ky, kx));
      }
    }
    const auto taps = static_cast<std::int64_t>(taps_.size());
    taps_.resize(static_cast<std::size_t>((taps + 3) / 4 * 4), 0);
    const std::int64_t chunk = kernels.interleaves ? 64 : kernels.lanes;
    const std::int64_t item = item_size(sink_.view.storage);
    // Few channels without gaps: as many pixels as fill a vector are taken for one.
    const bool dense = conv.stride_x == 1 && in_.pixel_stride == conv.filters &&
                       sink_.view.pixel_stride == conv.filters * item;
    const std::int64_t pixels = dense && chunk % conv.filters == 0 ? chunk / conv.filters : 1;
    const std::int64_t items = pixels * conv.filters;
    const std::int64_t channels = (items + chunk - 1) / chunk * chunk;
    const auto padded = static_cast<std::int64_t>(taps_.size());
    weights_ = Packed(channels * padded * (kernels.interleaves ? 1 : 2));
    biases_.assign(static_cast<std::size_t>(channels), 0);
    if (conv.shifts_products()) shifts_.assign(static_cast<std::size_t>(channels), 0);
    for (std::int64_t i = 0; i < items; ++i) {
      const std::int64_t c = i % conv.filters;
      const std::int64_t block = i / chunk * chunk * padded;
      const std::int64_t in_block = i % chunk;
      for (std::int64_t tap = 0; tap < taps; ++tap) {
        const std::int64_t weight = conv.weight(0, tap, 0, c);
        if (kernels.interleaves) {
          // Unpacking bytes works within 16: vector q holds channels 16 l + 4 q + i.
          const std::int64_t vector = in_block / 4 % 4;
          const std::int64_t lane = in_block / 16 * 4 + in_block % 4;
          const std::int64_t at = block + ((tap / 4 * 4 + vector) * 16 + lane) * 4 + tap % 4;
          weights_.as<std::int8_t>()[at] = static_cast<std::int8_t>(weight);
        } else {
          const std::int64_t at = block + (tap / 2 * chunk + in_block) * 2 + tap % 2;
          weights_.as<std::int16_t>()[at] = static_cast<std::int16_t>(weight);
        }
      }
      biases_[static_cast<std::size_t>(i)] = corrected_bias(conv, c, bias_of(in_.storage));
      if (!shifts_.empty()) {
        shifts_[static_cast<std::size_t>(i)] =
            static_cast<std::int32_t>(conv.shifts[static_cast<std::size_t>(c)]);
      }
    }
    task_.input_pixel = pixels * conv.stride_x * in_.pixel_stride;
    task_.tap_count = static_cast<std::int32_t>(padded);
    task_.channels = static_cast<std::int32_t>(items);
    task_.width = (out_.width + pixels - 1) / pixels;
    task_.last_channels =
        static_cast<std::int32_t>((out_.width - (task_.width - 1) * pixels) * conv.filters);
    task_.output_pixel = pixels * sink_.view.pixel_stride;
    task_.finish = finish_of(sink_.requantizer,
                             site.requantized != nullptr ? *site.requantized : *site.result);
  }

  void run(const Context& context, std::int64_t first, std::int64_t last) const {
    DepthwiseTask task = task_;
    task.taps = taps_.data();
    task.weights = weights_.data();
    task.biases = biases_.data();
    task.shifts = shifts_.empty() ? nullptr : shifts_.data();
    for (std::int64_t y = first; y < last; ++y) {
      task.input = reinterpret_cast<const std::uint8_t*>(context.arena) +
                   in_.at(y * stride_y_ + origin_y_, origin_x_);
      task.output = reinterpret_cast<std::uint8_t*>(context.arena) + sink_.view.at(y, 0);
      kernel_(task);
    }
  }

 private:
  View in_;
  Sink sink_;
  Shape out_;
  void (*kernel_)(const DepthwiseTask&);
  Packed weights_;
  std::int64_t stride_y_;
  std::int64_t origin_y_;
  std::int64_t origin_x_;
  std::vector<std::int64_t> taps_;
  std::vector<std::int32_t> biases_;
  std::vector<std::int32_t> shifts_;  // empty where nothing is shifted
  DepthwiseTask task_{};
};

View widened_view(const Conv2DParameters& conv, const Shape& shape, std::int64_t offset) {
  View view;
  view.shape = shape;
  view.storage = Storage::kI16;
  view.halo = conv.padding;
  view.pixel_stride = shape.channels * 2;
  view.row_stride = (shape.width + conv.padding.left + conv.padding.right) * view.pixel_stride;
  view.offset = offset + conv.padding.top * view.row_stride +
                conv.padding.left * view.pixel_stride;
  return view;
}

}  // namespace

std::int64_t widened_bytes(const Conv2DParameters& conv, const Shape& source) {
  return widened_view(conv, source, 0).row_stride *
         (source.height + conv.padding.top + conv.padding.bottom);
}

Steps gemm_steps(const Conv2DParameters& conv, const Target& target, const Site& site,
                 ConvMethod method) {
  Steps steps;
  View in = site.inputs[0];
  if (method == ConvMethod::kShorts) {
    const View wide = widened_view(conv, in.shape, site.scratch);
    steps.push_back(std::make_unique<Step>(StepWork{
        1, [wide](const Context& context, std::int64_t, std::int64_t) {
          wide.clear_halo(context.arena);
        }}));
    steps.push_back(widen_step(in, wide, *target.kernels));
    in = wide;
  }
  auto gemm = std::make_shared<const Gemm>(conv, *target.kernels, in, site, method);
  steps.push_back(std::make_unique<Step>(StepWork{
      gemm->units(), [gemm](const Context& context, std::int64_t first, std::int64_t last) {
        gemm->run(context, first, last);
      }}));
  return steps;
}

Steps depthwise_steps(const Conv2DParameters& conv, const Target& target, const Site& site) {
  auto depthwise = std::make_shared<const Depthwise>(conv, *target.kernels, site);
  return one_step(site.result->shape.height,
                  [depthwise](const Context& context, std::int64_t first, std::int64_t last) {
                    depthwise->run(context, first, last);
                  });
}

}  // namespace hwflow
