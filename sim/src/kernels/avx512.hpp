// 512-bit vectors; what AVX-512BW and VNNI share. Included after the target pragma.
#pragma once

#include "body.hpp"

namespace hwflow {
namespace {

struct Avx512 {
  using Vec = __m512i;
  using Count = __m128i;
  static constexpr int lanes = 16;

  static HWFLOW_INLINE Vec zero() { return _mm512_setzero_si512(); }
  static HWFLOW_INLINE Vec set(int32_t value) { return _mm512_set1_epi32(value); }
  static HWFLOW_INLINE Count count(int32_t value) { return _mm_cvtsi32_si128(value); }
  static HWFLOW_INLINE Vec load(const void* from) { return _mm512_loadu_si512(from); }
  static HWFLOW_INLINE Vec load_bytes(const uint8_t* from) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static HWFLOW_INLINE Vec broadcast(const uint8_t* from) {
    int32_t word;
    __builtin_memcpy(&word, from, 4);
    return _mm512_set1_epi32(word);
  }
  static HWFLOW_INLINE Vec pair(Vec even, Vec odd) {
    return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
  }
  static HWFLOW_INLINE Vec add(Vec a, Vec b) { return _mm512_add_epi32(a, b); }
  static HWFLOW_INLINE Vec bits_and(Vec a, Vec b) { return _mm512_and_si512(a, b); }
  static HWFLOW_INLINE Vec sign(Vec a) { return _mm512_srai_epi32(a, 31); }
  static HWFLOW_INLINE Vec shift_left(Vec a, Count n) { return _mm512_sll_epi32(a, n); }
  static HWFLOW_INLINE Vec shift_right(Vec a, Count n) { return _mm512_sra_epi32(a, n); }
  static HWFLOW_INLINE Vec shift_logical(Vec a, Count n) { return _mm512_srl_epi32(a, n); }
  static HWFLOW_INLINE Vec minimum(Vec a, Vec b) { return _mm512_min_epi32(a, b); }
  static HWFLOW_INLINE Vec maximum(Vec a, Vec b) { return _mm512_max_epi32(a, b); }

  static HWFLOW_INLINE __mmask16 mask(int count) {
    return static_cast<__mmask16>((1u << count) - 1);
  }
  static HWFLOW_INLINE void store_bytes(uint8_t* to, Vec value, int count) {
    _mm512_mask_cvtepi32_storeu_epi8(to, mask(count), value);
  }
  static HWFLOW_INLINE void store_shorts(uint8_t* to, Vec value, int count) {
    _mm512_mask_cvtepi32_storeu_epi16(to, mask(count), value);
  }
  static HWFLOW_INLINE void store_sums(uint8_t* to, Vec value, int count) {
    _mm512_mask_storeu_epi32(to, mask(count), value);
  }

  struct Shorts {
    static HWFLOW_INLINE Vec dot(Vec sum, Vec a, Vec b) {
      return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
    }
  };
};

// Blocks that fill the 32 registers: sums, one line of weights, one broadcast value.
template <typename Dot>
void gemm_512(const GemmTask& task) {
  switch (task.vectors) {
    case 4:
      gemm_panel<Avx512, Dot, 6, 4>(task);
      break;
    case 3:
      gemm_panel<Avx512, Dot, 8, 3>(task);
      break;
    case 2:
      gemm_panel<Avx512, Dot, 10, 2>(task);
      break;
    default:
      gemm_panel<Avx512, Dot, 10, 1>(task);
  }
}

}  // namespace
}  // namespace hwflow
