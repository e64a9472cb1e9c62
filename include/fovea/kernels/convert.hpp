// Conversions between float32 and the 16-bit types, rounding to nearest, ties to even; NaN stays NaN. Exact
// from 16 bits, subnormal numbers included; to float16, what rounds to 2^16 or above gives infinity.
#pragma once

#include <cstdint>

#include "fovea/tensor/dtype.hpp"

namespace fovea::kernels {

// n numbers, threaded when they are many; x and out do not overlap.
void to_bf16(int64_t n, const float* x, BFloat16* out);
void from_bf16(int64_t n, const BFloat16* x, float* out);
void to_f16(int64_t n, const float* x, Float16* out);
void from_f16(int64_t n, const Float16* x, float* out);

// The same by type, for code that serves both: float32 to 16 bits …
inline void narrow(int64_t n, const float* x, BFloat16* out) {
  to_bf16(n, x, out);
}
// … to float16 …
inline void narrow(int64_t n, const float* x, Float16* out) {
  to_f16(n, x, out);
}
// … and back, from bf16 …
inline void widen(int64_t n, const BFloat16* x, float* out) {
  from_bf16(n, x, out);
}
// … and from float16.
inline void widen(int64_t n, const Float16* x, float* out) {
  from_f16(n, x, out);
}

}  // namespace fovea::kernels
