// The peak of float32 multiply-adds of one core, measured: what attention's rates are a share of.
#pragma once

#include <algorithm>
#include <chrono>

#include "fovea/base/cpu.hpp"

namespace fovea {

// GFLOP/s of the widest float32 multiply-adds that the processor has (x86: AVX-512 or AVX2), the best of
// several short runs of twelve independent chains; 0 where it is not known.
inline double fma_peak_gflops() {
#if defined(__x86_64__)
#define FOVEA_BENCH_CHAINS(r)                                                        \
  "vfmadd231ps %%" r "0, %%" r "1, %%" r "2\n vfmadd231ps %%" r "0, %%" r "1, %%" r  \
  "3\n"                                                                              \
  "vfmadd231ps %%" r "0, %%" r "1, %%" r "4\n vfmadd231ps %%" r "0, %%" r "1, %%" r  \
  "5\n"                                                                              \
  "vfmadd231ps %%" r "0, %%" r "1, %%" r "6\n vfmadd231ps %%" r "0, %%" r "1, %%" r  \
  "7\n"                                                                              \
  "vfmadd231ps %%" r "0, %%" r "1, %%" r "8\n vfmadd231ps %%" r "0, %%" r "1, %%" r  \
  "9\n"                                                                              \
  "vfmadd231ps %%" r "0, %%" r "1, %%" r "10\n vfmadd231ps %%" r "0, %%" r "1, %%" r \
  "11\n"                                                                             \
  "vfmadd231ps %%" r "0, %%" r "1, %%" r "12\n vfmadd231ps %%" r "0, %%" r "1, %%" r "13\n"
  const bool wide = cpu_features().avx512;
  if (!wide && !cpu_features().avx2_fma) return 0;
  constexpr int kRounds = 200'000;
  double best = 0;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kRounds; ++i) {
      if (wide) {
        asm volatile(FOVEA_BENCH_CHAINS("zmm")::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                           "xmm10", "xmm11", "xmm12", "xmm13");
      } else {
        asm volatile(FOVEA_BENCH_CHAINS("ymm")::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                           "xmm10", "xmm11", "xmm12", "xmm13");
      }
    }
#undef FOVEA_BENCH_CHAINS
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, 12.0 * (wide ? 32.0 : 16.0) * kRounds / seconds * 1e-9);
  }
  return best;
#else
  return 0;
#endif
}

}  // namespace fovea
