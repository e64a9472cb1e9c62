// For each panel of B's columns and each stretch of k, packed so that tiles read it in order: every row of A.
#include "kernels/matmul_tiles.hpp"

#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_tiles.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// Terms packed at a time: 8 KiB of B with NEON, which leaves the first-level cache to the rows of A. A chain
// goes on from C, so its bits do not depend on this.
constexpr int64_t kTerms = 256;
// From this many rows on, packing a panel of B that lies in rows is less than what its tiles save.
constexpr int64_t kRowsWorthPacking = 32;

// packed[p·kPanel + j] = op(B)[p, j], 0 for the columns from `cols` on.
void pack_panel(const MatmulLayout& s, const float* b, int64_t terms, int64_t cols, float* packed) {
  for (int64_t column = 0; column < kPanel; column += kLanes) {
    const int64_t some = std::clamp<int64_t>(cols - column, 0, kLanes);
    if (some == 0) {
      zero_column(packed + column, terms);
    } else if (s.transpose_b) {
      pack_column(b + column * s.ldb, s.ldb, some, terms, 1.0f, packed + column);
    } else {
      for (int64_t p = 0; p < terms; ++p) {
        float* to = packed + p * kPanel + column;
        std::memcpy(to, b + p * s.ldb + column, static_cast<size_t>(some) * sizeof(float));
        std::fill(to + some, to + kLanes, 0.0f);
      }
    }
  }
}

// C[rows][kPanel] (+)= op(A)[rows][terms] · B[terms][kPanel].
void panel_product(const MatmulLayout& s, int64_t rows, int64_t terms, const float* a, const float* b,
                   int64_t ldb, bool add, float* c, int64_t ldc) {
  if (s.transpose_a) {
    if (add) return columns_product<2, true>(rows, terms, a, s.lda, b, ldb, c, ldc);
    return columns_product<2, false>(rows, terms, a, s.lda, b, ldb, c, ldc);
  }
  if (add) return rows_product<2, true>(rows, terms, a, s.lda, b, ldb, c, ldc);
  rows_product<2, false>(rows, terms, a, s.lda, b, ldb, c, ldc);
}

// The same where C has fewer columns than a panel: through a tile beside it.
void edge_product(const MatmulLayout& s, int64_t rows, int64_t cols, int64_t terms, const float* a,
                  const float* b, bool add, float* c) {
  alignas(64) float tile[kTileRows * kPanel];
  const auto bytes = static_cast<size_t>(cols) * sizeof(float);
  for (int64_t row = 0; row < rows; row += kTileRows) {
    const int64_t some = std::min<int64_t>(kTileRows, rows - row);
    std::fill_n(tile, kTileRows * kPanel, 0.0f);
    for (int64_t i = 0; add && i < some; ++i) std::memcpy(tile + i * kPanel, c + (row + i) * s.ldc, bytes);
    panel_product(s, some, terms, a + s.offset_a(row), b, kPanel, add, tile, kPanel);
    for (int64_t i = 0; i < some; ++i) std::memcpy(c + (row + i) * s.ldc, tile + i * kPanel, bytes);
  }
}

}  // namespace

void tile_product_body(const MatmulLayout& s, int64_t m, int64_t n, const float* a, const float* b, bool add,
                       float* c) {
  alignas(64) float packed[kTerms * kPanel];
  for (int64_t from = 0; from < s.k; from += kTerms) {
    const int64_t terms = std::min(kTerms, s.k - from);
    const float* a_from = a + (s.transpose_a ? from * s.lda : from);
    for (int64_t column = 0; column < n; column += kPanel) {
      const int64_t cols = std::min(kPanel, n - column);
      const float* panel = b + s.offset_b(column) + (s.transpose_b ? from : from * s.ldb);
      const bool in_place = !s.transpose_b && cols == kPanel && m < kRowsWorthPacking;
      if (!in_place) pack_panel(s, panel, terms, cols, packed);
      const bool more = add || from > 0;
      if (cols < kPanel) {
        edge_product(s, m, cols, terms, a_from, packed, more, c + column);
      } else {
        panel_product(s, m, terms, a_from, in_place ? panel : packed, in_place ? s.ldb : kPanel, more,
                      c + column, s.ldc);
      }
    }
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/dispatch.hpp"

namespace fovea::kernels {

void tile_product(const MatmulLayout& s, int64_t m, int64_t n, const float* a, const float* b, bool add,
                  float* c) {
  FOVEA_KERNEL(tile_product_body)(s, m, n, a, b, add, c);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
