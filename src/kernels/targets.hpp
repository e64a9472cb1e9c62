// Which instruction sets Highway compiles kernels for. Included by every file with kernel bodies before
// <hwy/foreach_target.h>: the baseline that every processor has, AVX2 with FMA, AVX-512; on aarch64 NEON.
// Others are left out, for they would add compile time and no speed here.
#pragma once

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
