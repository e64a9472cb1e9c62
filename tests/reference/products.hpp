// Matrix products in float64.
#pragma once

#include <cmath>
#include <cstdint>

namespace reference {

// c = op(a)·op(b) (+ bias) (+ c); bound collects Σ|a·b| + |bias| + |c|, what an error bound is relative to.
inline void matmul(int64_t m, int64_t n, int64_t k, const float* a, bool ta, int64_t lda, const float* b,
                   bool tb, int64_t ldb, const float* bias, bool accumulate, double* c, double* bound,
                   int64_t ldc) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0.0;
      double size = 0.0;
      for (int64_t p = 0; p < k; ++p) {
        const double product = static_cast<double>(ta ? a[p * lda + i] : a[i * lda + p]) *
                               static_cast<double>(tb ? b[j * ldb + p] : b[p * ldb + j]);
        sum += product;
        size += std::abs(product);
      }
      if (bias != nullptr) {
        sum += static_cast<double>(bias[j]);
        size += std::abs(static_cast<double>(bias[j]));
      }
      if (accumulate) {
        size += std::abs(c[i * ldc + j]);
        sum += c[i * ldc + j];
      }
      c[i * ldc + j] = sum;
      bound[i * ldc + j] = size;
    }
  }
}

}  // namespace reference
