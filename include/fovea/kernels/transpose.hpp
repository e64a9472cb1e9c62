// A matrix turned round: for a weight [out, in] that many small products read, as each would pack it anew
// (with 16 rows, a product with the turned weight is 1.5 times as fast, measured).
#pragma once

#include <cstdint>

namespace fovea::kernels {

// out[c, r] = x[r, c]; x [rows, cols] and out [cols, rows] with row strides. Threaded when large. Output
// strides that are multiples of 1 KB cost eight times as much (their lines fight for few cache sets): see
// transpose_stride.
void transpose(int64_t rows, int64_t cols, const float* x, int64_t stride, float* out, int64_t out_stride);

// A good row stride for rows of n elements: an odd number of cache lines.
constexpr int64_t transpose_stride(int64_t n) {
  return ((n + 15) / 16 | 1) * 16;
}

}  // namespace fovea::kernels
