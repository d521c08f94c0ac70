// 512-bit vectors with VNNI: four byte products at a time into 32 bits, without saturation.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#include "hwflow/kernels.hpp"

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#include "avx512.hpp"

namespace hwflow {
namespace {

// Written out, as the compiler copies the sums of the intrinsics from register to register.
struct Bytes {
  static HWFLOW_INLINE __m512i dot(__m512i sum, __m512i a, __m512i b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};

struct Shorts {
  static HWFLOW_INLINE __m512i dot(__m512i sum, __m512i a, __m512i b) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};

// Where item i of the unpacked vector q stands among the 64 channels.
HWFLOW_INLINE int unpacked_channel(int vector, int item) {
  return item / 4 * 16 + vector * 4 + item % 4;
}

// Depthwise by fours of taps: their bytes are unpacked side by side, 64 channels at a time.
void depthwise_fours(const DepthwiseTask& task) {
  using Isa = Avx512;
  const Finisher512 finisher(task.finish);
  __m512i order[4];
  for (int q = 0; q < 4; ++q) {
    int32_t channel[16];
    for (int item = 0; item < 16; ++item) channel[item] = unpacked_channel(q, item);
    order[q] = Isa::load(channel);
  }
  for (int32_t c = 0; c < task.channels; c += 64) {
    __m512i biases[4];
    __m512i shifts[4];
    for (int q = 0; q < 4; ++q) {
      biases[q] = _mm512_i32gather_epi32(order[q], task.biases + c, 4);
      shifts[q] = Isa::zero();
      if (task.shifts != nullptr) {
        shifts[q] = _mm512_i32gather_epi32(order[q], task.shifts + c, 4);
      }
    }
    const uint8_t* all_weights =
        static_cast<const uint8_t*>(task.weights) + static_cast<int64_t>(c) * task.tap_count;
    for (int64_t x = 0; x < task.width; ++x) {
      const int left = (x == task.width - 1 ? task.last_channels : task.channels) - c;
      if (left <= 0) continue;
      const uint8_t* input = task.input + x * task.input_pixel + c;
      uint8_t* output = task.output + x * task.output_pixel;
      const uint8_t* weights = all_weights;
      __m512i sums[4] = {Isa::zero(), Isa::zero(), Isa::zero(), Isa::zero()};
      for (int32_t tap = 0; tap < task.tap_count; tap += 4) {
        const __m512i a = Isa::load(input + task.taps[tap]);
        const __m512i b = Isa::load(input + task.taps[tap + 1]);
        const __m512i d = Isa::load(input + task.taps[tap + 2]);
        const __m512i e = Isa::load(input + task.taps[tap + 3]);
        const __m512i ab_low = _mm512_unpacklo_epi8(a, b);
        const __m512i ab_high = _mm512_unpackhi_epi8(a, b);
        const __m512i de_low = _mm512_unpacklo_epi8(d, e);
        const __m512i de_high = _mm512_unpackhi_epi8(d, e);
        sums[0] = Bytes::dot(sums[0], _mm512_unpacklo_epi16(ab_low, de_low), Isa::load(weights));
        sums[1] =
            Bytes::dot(sums[1], _mm512_unpackhi_epi16(ab_low, de_low), Isa::load(weights + 64));
        sums[2] =
            Bytes::dot(sums[2], _mm512_unpacklo_epi16(ab_high, de_high), Isa::load(weights + 128));
        sums[3] =
            Bytes::dot(sums[3], _mm512_unpackhi_epi16(ab_high, de_high), Isa::load(weights + 192));
        weights += 256;
      }
      if (task.shifts != nullptr) {
        for (int q = 0; q < 4; ++q) finisher.template align<1>(&sums[q], shifts[q]);
      }
      for (int q = 0; q < 4; ++q) finisher.template complete<1>(&sums[q], biases[q]);
      if (task.finish.kind == Finish::kBytes) {
        // Packing undoes the unpacking.
        Isa::store_raw(output + c, finisher.packed(sums[0], sums[1], sums[2], sums[3]),
                       left < 64 ? left : 64);
        continue;
      }
      int32_t items[4][16];
      int32_t natural[64];
      for (int q = 0; q < 4; ++q) {
        _mm512_storeu_si512(items[q], sums[q]);
        for (int i = 0; i < 16; ++i) natural[unpacked_channel(q, i)] = items[q][i];
      }
      for (int done = 0; done < 64 && done < left; done += 16) {
        const int rest = left - done;
        finisher.store(output, c + done, Isa::load(natural + done), rest < 16 ? rest : 16);
      }
    }
  }
}

}  // namespace

const Kernels kVnniKernels = {"avx512vnni",
                              Avx512::lanes,
                              4,
                              true,
                              gemm_512<Bytes>,
                              gemm_512<Shorts>,
                              depthwise_fours,
                              add_bytes<Avx512>,
                              multiply_bytes<Avx512>,
                              requantize_sums<Avx512>,
                              count_outside,
                              lookup_bytes<Avx512>,
                              maximum_of_window<Avx512>,
                              sum_of_window<Avx512>,
                              stretch_bytes<Avx512>,
                              blend_shorts<Avx512>,
                              greatest_bytes<Avx512>,
                              softmax_bytes,
                              widen_bytes,
                              peak_products<Avx512, Bytes, 4>};

}  // namespace hwflow
#endif
