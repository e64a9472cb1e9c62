#include "fovea/kernels/matmul.hpp"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <cstring>

#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/kernels/convert.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {
namespace {

// While it lives, oneDNN uses the calling thread alone: blocks are spread by parallel_tasks, and results must not
// depend on how many threads there are.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

// C is cut into row_blocks × col_blocks, from the shape alone.
struct Blocks {
  int64_t rows = 1;
  int64_t cols = 1;
};

Blocks cut(int64_t m, int64_t n, int64_t k) {
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const auto wanted = std::clamp<int64_t>(static_cast<int64_t>(flops / 6e6), 1, 16);
  Blocks blocks;
  blocks.rows = std::clamp<int64_t>(m / 96, 1, wanted);
  blocks.cols = std::clamp<int64_t>(n / 128, 1, wanted / blocks.rows);
  return blocks;
}

// Where block i of `count` begins, on a multiple of 16.
int64_t edge(int64_t size, int64_t count, int64_t i) {
  return i >= count ? size : std::min(size, (size * i / count + 15) / 16 * 16);
}

void product(const Matmul& s, int64_t lda, int64_t ldb, int64_t ldc, int64_t m, int64_t n, const float* a,
             const float* b, const float* bias, float* c) {
  float beta = s.accumulate ? 1.0f : 0.0f;
  if (bias != nullptr) {
    for (int64_t r = 0; r < m; ++r) {
      float* row = c + r * ldc;
      if (s.accumulate) {
        for (int64_t j = 0; j < n; ++j) row[j] += bias[j];
      } else {
        std::memcpy(row, bias, static_cast<size_t>(n) * sizeof(float));
      }
    }
    beta = 1.0f;
  }
  dnnl_sgemm(s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', m, n, s.k, 1.0f, a, lda, b, ldb, beta, c, ldc);
}

// No terms: what a product of no columns leaves.
void empty_product(const Matmul& s, int64_t ldc, float* c) {
  for (int64_t r = 0; r < s.m; ++r) {
    for (int64_t j = 0; j < s.n; ++j) {
      float& out = c[r * ldc + j];
      out = (s.accumulate ? out : 0.0f) + (s.bias == nullptr ? 0.0f : s.bias[j]);
    }
  }
}

}  // namespace

void matmul(const Matmul& s, const float* a, const float* b, float* c) {
  if (s.m <= 0 || s.n <= 0) return;
  const int64_t lda = s.lda != 0 ? s.lda : (s.transpose_a ? s.m : s.k);
  const int64_t ldb = s.ldb != 0 ? s.ldb : (s.transpose_b ? s.k : s.n);
  const int64_t ldc = s.ldc != 0 ? s.ldc : s.n;
  if (s.k <= 0) return empty_product(s, ldc, c);
  const Blocks blocks = cut(s.m, s.n, s.k);
  parallel_tasks(blocks.rows * blocks.cols, true, [&](int64_t task) {
    const OneThread alone;
    const int64_t row = edge(s.m, blocks.rows, task / blocks.cols);
    const int64_t col = edge(s.n, blocks.cols, task % blocks.cols);
    const int64_t m = edge(s.m, blocks.rows, task / blocks.cols + 1) - row;
    const int64_t n = edge(s.n, blocks.cols, task % blocks.cols + 1) - col;
    if (m <= 0 || n <= 0) return;
    product(s, lda, ldb, ldc, m, n, s.transpose_a ? a + row : a + row * lda, s.transpose_b ? b + col * ldb : b + col,
            s.bias == nullptr ? nullptr : s.bias + col, c + row * ldc + col);
  });
}

bool matmul_bf16_is_native() {
  return false;
}

void matmul_bf16(const Matmul& s, const BFloat16* a, const BFloat16* b, float* c) {
  const int64_t a_rows = s.transpose_a ? s.k : s.m;
  const int64_t b_rows = s.transpose_b ? s.n : s.k;
  const int64_t lda = s.lda != 0 ? s.lda : (s.transpose_a ? s.m : s.k);
  const int64_t ldb = s.ldb != 0 ? s.ldb : (s.transpose_b ? s.k : s.n);
  const int64_t a_size = a_rows > 0 ? (a_rows - 1) * lda + (s.transpose_a ? s.m : s.k) : 0;
  const int64_t b_size = b_rows > 0 ? (b_rows - 1) * ldb + (s.transpose_b ? s.k : s.n) : 0;
  Buffer<float> wide_a(static_cast<size_t>(std::max<int64_t>(a_size, 0)));
  Buffer<float> wide_b(static_cast<size_t>(std::max<int64_t>(b_size, 0)));
  from_bf16(a_size, a, wide_a.data());
  from_bf16(b_size, b, wide_b.data());
  matmul(s, wide_a.data(), wide_b.data(), c);
}

}  // namespace fovea::kernels
