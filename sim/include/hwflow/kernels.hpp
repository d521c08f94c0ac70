// The kernels of one instruction set: plain functions over plain memory, so that files compiled for
// other processors share no inline code with the rest.
#pragma once

#include <cstdint>

namespace hwflow {

// What becomes of 32-bit sums: stored as they are, or shifted, rounded, clipped and stored.
struct Finish {
  enum Kind : int { kSums, kBytes, kShorts };  // int32; uint8 (biased); int16

  Kind kind = kSums;
  std::int32_t shift = 0;
  std::int32_t constant = 0;  // see Requantizer::ShiftRounding
  std::int32_t on_negative = 0;
  std::int32_t on_odd = 0;
  std::int32_t low = 0;
  std::int32_t high = 0;
  std::int32_t bias = 0;  // of the storage, added last
};

// One panel of a convolution: some output pixels times up to `max_vectors` vectors of channels.
// Products run over segments: runs of bytes that lie side by side in the input.
struct GemmTask {
  const std::uint8_t* input;  // of output pixel (0, 0)
  std::int64_t input_row;     // bytes from one output row to the next
  std::int64_t input_pixel;
  const std::int64_t* segments;  // bytes from a pixel's input to each segment
  std::int32_t segment_count;
  std::int32_t depth;  // 4-byte words in a segment
  const void* weights;  // [segment][word][vector][lane][items of a word]
  const std::int32_t* biases;
  const std::int32_t* shifts;  // of the sums to the left, before the bias; null: none
  std::int32_t vectors;
  std::int32_t channels;  // that exist; the rest of the vectors is filling
  std::int64_t width;     // output pixels in a row
  std::int64_t first;     // output pixels, row by row
  std::int64_t last;
  std::uint8_t* output;  // of output pixel (0, 0)
  std::int64_t output_row;
  std::int64_t output_pixel;
  Finish finish;
};

// One row of a depthwise convolution over bytes.
struct DepthwiseTask {
  const std::uint8_t* input;  // of the row's first output pixel
  std::int64_t input_pixel;
  const std::int64_t* taps;  // bytes from a pixel's input to each tap
  std::int32_t tap_count;    // a multiple of 4; the filling's weights are zero
  const void* weights;       // [channels of a vector][2 taps][lane] int16, or interleaved int8
  const std::int32_t* biases;
  const std::int32_t* shifts;  // of the sums to the left, before the bias; null: none
  std::int32_t channels;
  std::int32_t last_channels;  // of the last pixel, where pixels are put together
  std::int64_t width;
  std::uint8_t* output;
  std::int64_t output_pixel;
  Finish finish;
};

// Element by element over rows of bytes.
struct AddTask {
  const std::uint8_t* left;
  const std::uint8_t* right;
  std::int32_t left_shift;
  std::int32_t right_shift;
  std::int32_t constant;  // what the storage biases add to the sum, negated
  std::int64_t count;
  std::uint8_t* output;
  Finish finish;
};

// Products of bytes, element by element.
struct MultiplyTask {
  const std::uint8_t* left;
  const std::uint8_t* right;
  std::int32_t left_bias;  // of the storages
  std::int32_t right_bias;
  std::int64_t count;
  std::uint8_t* output;
  Finish finish;
};

// Sums in memory, brought to bytes or shorts.
struct RequantizeTask {
  const void* input;
  bool is_short;  // int16, else int32
  std::int64_t count;
  std::uint8_t* output;
  Finish finish;
};

// How many rounded sums lie outside of a range.
struct OutsideTask {
  const void* input;
  bool is_short;
  std::int64_t count;
  Finish finish;  // for its rounding
  std::int32_t low;
  std::int32_t high;
  std::int64_t below;  // these two are added to
  std::int64_t above;
};

// One window of a pooling over bytes.
struct WindowTask {
  const std::uint8_t* input;  // of the window's first pixel
  std::int64_t row;           // bytes from row to row
  std::int64_t pixel;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t channels;
  void* output;
};

// One row of bytes made wider: each output pixel is a weighted sum of two of its pixels.
struct StretchTask {
  const std::uint8_t* input;   // of the row's first pixel
  const std::int64_t* taps;    // bytes to the two pixels, by output pixel
  const std::int32_t* weights;  // of both, by output pixel: 16 bits each, the second one's above
  std::int64_t width;          // output pixels
  std::int32_t channels;
  std::int16_t* output;  // without gaps; a vector's room behind the last
};

// Two such rows, added with weights.
struct BlendTask {
  const std::int16_t* first;
  const std::int16_t* second;
  std::int32_t weights;   // 16 bits each, the second one's above
  std::int32_t constant;  // what the storage's bias adds to the sum, negated
  std::int64_t count;
  std::uint8_t* output;
  Finish finish;
};

// The greatest of each pixel's bytes, of equal ones the first.
struct GreatestTask {
  const std::uint8_t* input;
  std::int64_t input_pixel;
  std::int64_t width;
  std::int32_t channels;  // at most 65,536
  std::int64_t* keys;     // by pixel: the byte in the bits from 16 up, 65,535 less its channel below
};

// Softmax of bytes: `table[greatest - byte]`, as shares of their sum.
struct SoftmaxTask {
  const std::uint8_t* input;
  std::int64_t input_pixel;
  std::int64_t width;
  std::int32_t channels;
  const std::int32_t* table;  // 256 entries
  double scale;               // what a share of one is
  std::int32_t* parts;        // room for a pixel's entries
  std::int64_t* output;       // without gaps: rounded, ties to even
};

struct Kernels {
  const char* name;
  std::int32_t lanes;        // 32-bit integers in a vector
  std::int32_t max_vectors;  // in a panel
  bool interleaves;          // depthwise weights lie as unpacked bytes, 64 channels at a time
  void (*gemm_bytes)(const GemmTask&);   // uint8 x int8, words of 4; may be null
  void (*gemm_shorts)(const GemmTask&);  // int16 x int16, words of 2
  void (*depthwise)(const DepthwiseTask&);
  void (*add)(const AddTask&);
  void (*multiply)(const MultiplyTask&);
  void (*requantize)(const RequantizeTask&);
  void (*count_outside)(OutsideTask&);
  // `output[i] = table[input[i]]`, the table of 256 entries
  void (*lookup)(const std::uint8_t* table, const std::uint8_t* input, std::uint8_t* output,
                 std::int64_t count);
  void (*maximum)(const WindowTask&);  // into bytes
  void (*sum)(const WindowTask&);      // into int32
  void (*stretch)(const StretchTask&);
  void (*blend)(const BlendTask&);
  void (*greatest)(const GreatestTask&);
  void (*softmax)(const SoftmaxTask&);
  // `result = values - bias`
  void (*widen)(std::int16_t* result, const std::uint8_t* values, std::int64_t count,
                std::int32_t bias);
  // Multiplies and adds in registers alone; returns how many of them. What a processor can do.
  std::int64_t (*peak)(std::int64_t rounds);
};

extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kVnniKernels;

}  // namespace hwflow
