// How a product is cut into blocks of C, for every element type: by the shape alone, so that each element is
// computed the same way whatever the number of threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "fovea/base/parallel.hpp"
#include "fovea/kernels/matmul.hpp"

namespace fovea::kernels {

// While it lives, oneDNN uses the calling thread alone: blocks are spread by parallel_tasks. (Inside a
// parallel region oneDNN does so anyway; setting OpenMP's own variable costs two nanoseconds.)
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

// A Matmul with its strides filled in.
struct MatmulLayout : Matmul {
  explicit MatmulLayout(const Matmul& spec) : Matmul(spec) {
    if (lda == 0) lda = transpose_a ? m : k;
    if (ldb == 0) ldb = transpose_b ? k : n;
    if (ldc == 0) ldc = n;
  }
  int64_t offset_a(int64_t row) const { return transpose_a ? row : row * lda; }
  int64_t offset_b(int64_t col) const { return transpose_b ? col * ldb : col; }
};

struct MatmulBlock {
  int64_t row, col, m, n;
};

// Into how many rows and columns of blocks C is cut: powers of two, at most 16 blocks in all, of at least 2.5
// million operations (10 us) each.
struct MatmulCut {
  int64_t rows = 1;
  int64_t cols = 1;

  // Blocks of at least so many rows and columns, where there are as many; rows are cut first.
  static MatmulCut rows_first(const Matmul& s, int64_t least_rows, int64_t least_cols) {
    const int64_t rows = power(std::min(wanted(s), s.m / least_rows));
    return {rows, power(std::min(wanted(s) / rows, s.n / least_cols))};
  }
  // As rows_first, but with the least work of packing: each row of blocks packs B anew, and each column of
  // blocks reads A anew, at `cost_a` times the cost of an element of B.
  static MatmulCut cheapest(const Matmul& s, int64_t least_rows, int64_t least_cols, double cost_a) {
    const int64_t most_rows = power(s.m / least_rows), most_cols = power(s.n / least_cols);
    MatmulCut best;
    double least = 0.0;
    for (int64_t cols = 1; cols <= std::min(most_cols, wanted(s)); cols *= 2) {
      const MatmulCut cut{power(std::min(wanted(s) / cols, most_rows)), cols};
      const double cost = static_cast<double>(cut.rows * s.n) + cost_a * static_cast<double>(cols * s.m);
      const bool finer = cut.rows * cut.cols > best.rows * best.cols;
      if (finer || (cut.rows * cut.cols == best.rows * best.cols && cost < least)) {
        best = cut;
        least = cost;
      }
    }
    return best;
  }

 private:
  static int64_t wanted(const Matmul& s) {
    const double operations =
        2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
    return static_cast<int64_t>(std::clamp(operations / 2.5e6, 1.0, 16.0));
  }
  static int64_t power(int64_t n) {
    return n < 1 ? 1 : static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n)));
  }
};

// Where block i of `count` begins, on a multiple of `unit`.
inline int64_t block_edge(int64_t size, int64_t count, int64_t i, int64_t unit) {
  return i >= count ? size : std::min(size, (size * i / count + unit - 1) / unit * unit);
}

// Puts into a block of C what the product is added to: its bias, if any.
inline void prepare_block(const MatmulLayout& s, int64_t m, int64_t n, const float* bias, float* c) {
  if (bias == nullptr) return;
  for (int64_t r = 0; r < m; ++r) {
    float* row = c + r * s.ldc;
    if (s.accumulate) {
      for (int64_t j = 0; j < n; ++j) row[j] += bias[j];
    } else {
      std::memcpy(row, bias, static_cast<size_t>(n) * sizeof(float));
    }
  }
}

// What a product without terms (k = 0) leaves in C.
inline void empty_product(const MatmulLayout& s, float* c) {
  for (int64_t r = 0; r < s.m; ++r) {
    if (!s.accumulate) std::fill_n(c + r * s.ldc, s.n, 0.0f);
  }
  prepare_block(s, s.m, s.n, s.bias, c);
}

// Calls body(block) for every block, on the threads that the work is worth, with oneDNN held to one thread
// each. Rows are cut on multiples of row_unit, columns of col_unit. None where the product has no terms.
template <class Body>
void for_blocks(const MatmulLayout& s, const MatmulCut& cut, int64_t row_unit, int64_t col_unit,
                Body&& body) {
  if (s.m <= 0 || s.n <= 0 || s.k <= 0) return;
  parallel_tasks(cut.rows * cut.cols, true, [&](int64_t task) {
    const OneThread alone;
    const int64_t i = task / cut.cols;
    const int64_t j = task % cut.cols;
    const int64_t row = block_edge(s.m, cut.rows, i, row_unit);
    const int64_t col = block_edge(s.n, cut.cols, j, col_unit);
    const MatmulBlock block{row, col, block_edge(s.m, cut.rows, i + 1, row_unit) - row,
                            block_edge(s.n, cut.cols, j + 1, col_unit) - col};
    if (block.m > 0 && block.n > 0) body(block);
  });
}

}  // namespace fovea::kernels
