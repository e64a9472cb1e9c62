// Elementwise arithmetic over n float32 elements, threaded when n is large. `out` may be any of the inputs.
#pragma once

#include <cstdint>

#include "fovea/kernels/activation.hpp"  // elementwise too

namespace fovea::kernels {

// out = a + b, a − b, a·b, a/b and max(a, b); which of both a maximum with NaN gives is not promised.
void add(int64_t n, const float* a, const float* b, float* out);
void subtract(int64_t n, const float* a, const float* b, float* out);
void multiply(int64_t n, const float* a, const float* b, float* out);
void divide(int64_t n, const float* a, const float* b, float* out);
void maximum(int64_t n, const float* a, const float* b, float* out);

// out += a·b
void multiply_add(int64_t n, const float* a, const float* b, float* out);
// y += alpha·x
void axpy(int64_t n, float alpha, const float* x, float* y);
// out = alpha·x
void scale(int64_t n, float alpha, const float* x, float* out);
// out = x + alpha
void add_scalar(int64_t n, float alpha, const float* x, float* out);
// y += alpha·(x - y): moving averages.
void interpolate(int64_t n, float alpha, const float* x, float* y);
// out = value, n times.
void fill(int64_t n, float value, float* out);
// out = x; nothing where they are the same memory, no other overlap.
void copy(int64_t n, const float* x, float* out);
// out = min(max(x, low), high)
void clamp(int64_t n, float low, float high, const float* x, float* out);
// e^x, relative error <= 2e-7 where the result is a normal number; 0 below −104, ∞ above 88.73.
void exp(int64_t n, const float* x, float* out);
// The natural logarithm, within 3e-7·|log x| + 1e-7 (tested from 1e-38 on); −∞ of 0, NaN of negative numbers.
void log(int64_t n, const float* x, float* out);
// Correctly rounded; NaN of negative numbers.
void sqrt(int64_t n, const float* x, float* out);

// x and out [rows, cols]; out[r, c] = x[r, c] + bias[c].
void add_row(int64_t rows, int64_t cols, const float* x, const float* bias, float* out);
// out[r, c] = x[r, c]·scale[c]
void scale_columns(int64_t rows, int64_t cols, const float* x, const float* scale, float* out);
// out[r, c] = x[r, c]·scale[r]
void scale_rows(int64_t rows, int64_t cols, const float* x, const float* scale, float* out);
// Copies a block of rows between row strides (elements): columns of a wider matrix, and back.
void copy_rows(int64_t rows, int64_t cols, const float* x, int64_t x_stride, float* out, int64_t out_stride);
// The same, adding to out.
void add_rows(int64_t rows, int64_t cols, const float* x, int64_t x_stride, float* out, int64_t out_stride);

}  // namespace fovea::kernels
