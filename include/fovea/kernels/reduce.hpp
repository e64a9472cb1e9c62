// Sums. Work is cut into chunks of fixed size, combined in a fixed order: same bits for any number of
// threads. Whole-array sums accumulate chunks in float64.
#pragma once

#include <cstdint>

#include "fovea/tensor/dtype.hpp"

namespace fovea::kernels {

// Σ x, Σ a·b and Σ x² of n numbers, 0 for none: chunks of 4,096 in float32, added up in float64.
double sum(int64_t n, const float* x);
double dot(int64_t n, const float* a, const float* b);
double squared_norm(int64_t n, const float* x);

// Largest |x|, NaN if any is NaN, 0 for n = 0.
float max_abs(int64_t n, const float* x);
// Whether none of them is ∞ or NaN.
bool all_finite(int64_t n, const float* x);

// out[c] = Σ_r x[r, c] (+ out[c] if accumulate); x [rows, cols] with a row stride of `stride` elements (0:
// dense).
void column_sums(int64_t rows, int64_t cols, const float* x, float* out, bool accumulate = false,
                 int64_t stride = 0);
// The same of bf16 numbers, summed in float32.
void column_sums(int64_t rows, int64_t cols, const BFloat16* x, float* out, bool accumulate = false,
                 int64_t stride = 0);
// out[r] = Σ_c x[r, c]
void row_sums(int64_t rows, int64_t cols, const float* x, float* out);
// out[r] = Σ_c a[r, c]·b[r, c]
void row_dots(int64_t rows, int64_t cols, const float* a, const float* b, float* out);

}  // namespace fovea::kernels
