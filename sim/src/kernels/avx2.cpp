// 256-bit vectors. Bytes are multiplied as 16-bit integers: the byte product of this instruction
// set (vpmaddubsw) saturates pairs of products at 16 bits, which would not be exact.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "hwflow/kernels.hpp"

#pragma GCC target("avx2")
#include "body.hpp"

namespace hwflow {
namespace {

struct Avx2 {
  using Vec = __m256i;
  using Finish = Finisher<Avx2>;
  static constexpr int lanes = 8;

  static HWFLOW_INLINE Vec zero() { return _mm256_setzero_si256(); }
  static HWFLOW_INLINE Vec set(int32_t value) { return _mm256_set1_epi32(value); }
  static HWFLOW_INLINE Vec load(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
  }
  static HWFLOW_INLINE Vec load_bytes(const uint8_t* from) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  }
  static HWFLOW_INLINE Vec load_shorts(const uint8_t* from) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static HWFLOW_INLINE Vec broadcast(const uint8_t* from) {
    int32_t word;
    memcpy(&word, from, 4);
    return _mm256_set1_epi32(word);
  }
  static HWFLOW_INLINE Vec pair(Vec even, Vec odd) {
    return _mm256_or_si256(even, _mm256_slli_epi32(odd, 16));
  }
  static HWFLOW_INLINE Vec add(Vec a, Vec b) { return _mm256_add_epi32(a, b); }
  static HWFLOW_INLINE Vec multiply(Vec a, Vec b) { return _mm256_mullo_epi32(a, b); }
  static HWFLOW_INLINE Vec bits_and(Vec a, Vec b) { return _mm256_and_si256(a, b); }
  static HWFLOW_INLINE Vec sign(Vec a) { return _mm256_srai_epi32(a, 31); }
  static HWFLOW_INLINE Vec shift_left(Vec a, Vec n) { return _mm256_sllv_epi32(a, n); }
  static HWFLOW_INLINE Vec shift_right(Vec a, Vec n) { return _mm256_srav_epi32(a, n); }
  static HWFLOW_INLINE Vec shift_logical(Vec a, Vec n) { return _mm256_srlv_epi32(a, n); }
  static HWFLOW_INLINE Vec minimum(Vec a, Vec b) { return _mm256_min_epi32(a, b); }
  static HWFLOW_INLINE Vec maximum(Vec a, Vec b) { return _mm256_max_epi32(a, b); }

  // Of all lanes.
  static HWFLOW_INLINE int32_t greatest(Vec a) {
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0xB1));
    return _mm_cvtsi128_si32(half);
  }

  static HWFLOW_INLINE __m128i shorts(Vec value, bool is_signed) {
    const __m128i low = _mm256_castsi256_si128(value);
    const __m128i high = _mm256_extracti128_si256(value, 1);
    return is_signed ? _mm_packs_epi32(low, high) : _mm_packus_epi32(low, high);
  }
  static HWFLOW_INLINE void store_bytes(uint8_t* to, Vec value, int count) {
    const __m128i half = shorts(value, false);
    const __m128i bytes = _mm_packus_epi16(half, half);
    if (count == lanes) {
      _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
    } else {
      memcpy(to, &bytes, static_cast<size_t>(count));
    }
  }
  static HWFLOW_INLINE void store_shorts(uint8_t* to, Vec value, int count) {
    const __m128i half = shorts(value, true);
    if (count == lanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), half);
    } else {
      memcpy(to, &half, static_cast<size_t>(count) * 2);
    }
  }
  static HWFLOW_INLINE void store_sums(uint8_t* to, Vec value, int count) {
    if (count == lanes) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
    } else {
      memcpy(to, &value, static_cast<size_t>(count) * 4);
    }
  }

  static HWFLOW_INLINE Vec repeated(const uint8_t* from) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static HWFLOW_INLINE Vec shuffle(Vec table, Vec index) {
    return _mm256_shuffle_epi8(table, index);
  }
  // The bit on top of every byte, which is all that `blend` looks at.
  static HWFLOW_INLINE Vec byte_mask(Vec bytes, int bit) {
    return _mm256_slli_epi16(bytes, 7 - bit);
  }
  static HWFLOW_INLINE Vec blend(Vec zero, Vec one, Vec chosen) {
    return _mm256_blendv_epi8(zero, one, chosen);
  }

  static HWFLOW_INLINE Vec maximum_bytes(Vec a, Vec b) { return _mm256_max_epu8(a, b); }
  static HWFLOW_INLINE void store_raw(uint8_t* to, Vec value, int count) {
    memcpy(to, &value, static_cast<size_t>(count));
  }

  struct Shorts {
    static HWFLOW_INLINE Vec dot(Vec sum, Vec a, Vec b) {
      return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    }
  };
};

void gemm_shorts(const GemmTask& task) {
  if (task.vectors == 2) {
    gemm_panel<Avx2, Avx2::Shorts, 6, 2>(task);
  } else {
    gemm_panel<Avx2, Avx2::Shorts, 8, 1>(task);
  }
}

}  // namespace

const Kernels kAvx2Kernels = {"avx2",
                              Avx2::lanes,
                              2,
                              false,
                              nullptr,
                              gemm_shorts,
                              depthwise_pairs<Avx2>,
                              add_bytes<Avx2>,
                              multiply_bytes<Avx2>,
                              requantize_sums<Avx2>,
                              count_outside,
                              lookup_bytes<Avx2>,
                              maximum_of_window<Avx2>,
                              sum_of_window<Avx2>,
                              stretch_bytes<Avx2>,
                              blend_shorts<Avx2>,
                              greatest_bytes<Avx2>,
                              softmax_bytes,
                              widen_bytes,
                              peak_products<Avx2, Avx2::Shorts, 2>};

}  // namespace hwflow
#endif
