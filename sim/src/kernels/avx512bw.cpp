// 512-bit vectors without VNNI: bytes are multiplied as 16-bit integers (see avx2.cpp).
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#include "hwflow/kernels.hpp"

#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#include "avx512.hpp"

namespace hwflow {

const Kernels kAvx512Kernels = {"avx512bw",
                                Avx512::lanes,
                                4,
                                false,
                                nullptr,
                                gemm_512<Avx512::Shorts>,
                                depthwise_pairs<Avx512>,
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
                                peak_products<Avx512, Avx512::Shorts, 2>};

}  // namespace hwflow
#endif
