// Dropout (Srivastava et al. 2014), the mask recomputed from the key instead of stored.
#pragma once

#include <cstdint>

#include "fovea/base/random.hpp"

namespace fovea::kernels {

// out[i] = x[i]/(1 - p) if word i of the key's stream is >= p·2^32, else 0. The gradient is the same call on
// dy. p in [0, 1): 0 copies. out may be x.
void dropout(int64_t n, float p, RandomKey key, const float* x, float* out);

// out = residual + dropout(x). out may be x or residual.
void dropout_add(int64_t n, float p, RandomKey key, const float* x, const float* residual, float* out);

// The same mask for whole rows: row r is kept if word r is >= p·2^32 (token dropout, stochastic depth).
void dropout_rows(int64_t rows, int64_t cols, float p, RandomKey key, const float* x, float* out);

// out[i] = low + (high - low)·u with u = word i >> 8 over 2^24: uniform in [low, high).
void random_uniform(int64_t n, RandomKey key, float low, float high, float* out);

}  // namespace fovea::kernels
