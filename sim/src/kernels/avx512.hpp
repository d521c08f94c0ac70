// 512-bit vectors; what AVX-512BW and VNNI share. Included after the target pragma.
#pragma once

#include "body.hpp"

namespace hwflow {
namespace {

struct Finisher512;

struct Avx512 {
  using Vec = __m512i;
  using Finish = Finisher512;
  static constexpr int lanes = 16;

  static HWFLOW_INLINE Vec zero() { return _mm512_setzero_si512(); }
  static HWFLOW_INLINE Vec set(int32_t value) { return _mm512_set1_epi32(value); }
  static HWFLOW_INLINE Vec load(const void* from) { return _mm512_loadu_si512(from); }
  static HWFLOW_INLINE Vec load_bytes(const uint8_t* from) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static HWFLOW_INLINE Vec load_shorts(const uint8_t* from) {
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
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
  static HWFLOW_INLINE Vec multiply(Vec a, Vec b) { return _mm512_mullo_epi32(a, b); }
  static HWFLOW_INLINE Vec bits_and(Vec a, Vec b) { return _mm512_and_si512(a, b); }
  static HWFLOW_INLINE Vec sign(Vec a) { return _mm512_srai_epi32(a, 31); }
  static HWFLOW_INLINE Vec shift_left(Vec a, Vec n) { return _mm512_sllv_epi32(a, n); }
  static HWFLOW_INLINE Vec shift_right(Vec a, Vec n) { return _mm512_srav_epi32(a, n); }
  static HWFLOW_INLINE Vec shift_logical(Vec a, Vec n) { return _mm512_srlv_epi32(a, n); }
  static HWFLOW_INLINE Vec minimum(Vec a, Vec b) { return _mm512_min_epi32(a, b); }
  static HWFLOW_INLINE Vec maximum(Vec a, Vec b) { return _mm512_max_epi32(a, b); }

  // Of all lanes.
  static HWFLOW_INLINE int32_t greatest(Vec a) { return _mm512_reduce_max_epi32(a); }

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

  static HWFLOW_INLINE Vec repeated(const uint8_t* from) {
    // Masked, because GCC 12 finds the plain form to use a value that is not set.
    return _mm512_maskz_broadcast_i32x4(
        0xFFFF, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static HWFLOW_INLINE Vec shuffle(Vec table, Vec index) {
    return _mm512_shuffle_epi8(table, index);
  }
  static HWFLOW_INLINE __mmask64 byte_mask(Vec bytes, int bit) {
    return _mm512_test_epi8_mask(bytes, _mm512_set1_epi8(static_cast<char>(1 << bit)));
  }
  static HWFLOW_INLINE Vec blend(Vec zero, Vec one, __mmask64 chosen) {
    return _mm512_mask_blend_epi8(chosen, zero, one);
  }

  static HWFLOW_INLINE Vec maximum_bytes(Vec a, Vec b) { return _mm512_max_epu8(a, b); }
  static HWFLOW_INLINE void store_raw(uint8_t* to, Vec value, int count) {
    _mm512_mask_storeu_epi8(to, count < 64 ? (uint64_t{1} << count) - 1 : ~uint64_t{0}, value);
  }

  struct Shorts {
    static HWFLOW_INLINE Vec dot(Vec sum, Vec a, Vec b) {
      return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
    }
  };
};

// Clips and stores up to 64 bytes at once.
struct Finisher512 : Finisher<Avx512> {
  Vec low_bytes, high_bytes, order;
  bool biased;

  HWFLOW_INLINE explicit Finisher512(const ::hwflow::Finish& finish)
      : Finisher<Avx512>(finish),
        low_bytes(_mm512_set1_epi8(static_cast<char>(finish.low + finish.bias))),
        high_bytes(_mm512_set1_epi8(static_cast<char>(finish.high + finish.bias))),
        order(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)),
        biased(finish.bias != 0) {}

  // Bytes of four vectors, by packing: within 128 bits first a, then b, c, d. It saturates, but
  // only beyond the bytes' own range.
  HWFLOW_INLINE Vec packed(Vec a, Vec b, Vec c, Vec d) const {
    const Vec first = _mm512_packs_epi32(rounded(a), rounded(b));
    const Vec second = _mm512_packs_epi32(rounded(c), rounded(d));
    const Vec bytes =
        biased ? _mm512_add_epi8(_mm512_packs_epi16(first, second), _mm512_set1_epi8(-128))
               : _mm512_packus_epi16(first, second);
    return _mm512_min_epu8(_mm512_max_epu8(bytes, low_bytes), high_bytes);
  }

  template <int vectors>
  HWFLOW_INLINE void store_line(uint8_t* to, const Vec* sums, int channels) const {
    if (vectors == 1 || kind != ::hwflow::Finish::kBytes) {
      Finisher<Avx512>::store_line<vectors>(to, sums, channels);
      return;
    }
    const Vec bytes = packed(sums[0], sums[vectors > 1 ? 1 : 0], sums[vectors > 2 ? 2 : 0],
                             sums[vectors > 3 ? 3 : 0]);
    Avx512::store_raw(to, _mm512_permutexvar_epi32(order, bytes), channels);
  }
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
