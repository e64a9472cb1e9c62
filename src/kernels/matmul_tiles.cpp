// For each panel of B's columns and each stretch of k, packed so that tiles read it in order: every row of A.
#include "kernels/matmul_tiles.hpp"

#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_tiles.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "fovea/base/memory.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/matmul_row-inl.hpp"
#include "kernels/matmul_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// Terms at a time: a panel of B (16 KiB with AVX2) stays in the first-level cache beside the rows of A that
// pass by. A chain goes on from C, so its bits do not depend on this.
constexpr int64_t kTerms = 384;
// Rows and panels at a time: kTerms of them (192 and 128 KiB with AVX2) stay in the second-level cache.
constexpr int64_t kGroup = 192;
constexpr int64_t kPanels = 4;
// From this many rows on, packing a panel of B that lies in rows is less than what its tiles save; from so
// many where the rows of B share few lines of the cache.
constexpr int64_t kRowsWorthPacking = 40;
constexpr int64_t kBadRowsWorthPacking = 16;
// From this many columns of C on a copy of A pays, see copies_a.
constexpr int64_t kColumnsWorthCopy = 8 * kPanel;
constexpr int64_t kRowsWorthCopy = 4 * kPanel;
// Rows so many floats apart, or a multiple, begin in the same lines of the first-level cache.
constexpr int64_t kBadStride = 256;
constexpr int64_t kLine = 16;

// Panel after panel, packed[p·kPanel + j] = op(B)[p, j], 0 beyond `cols`.
void pack_panels(const MatmulLayout& s, const float* b, int64_t terms, int64_t cols, float* packed) {
  const F d;
  const int64_t whole = cols / kPanel * kPanel;
  if (!s.transpose_b) {
    for (int64_t p = 0; p < terms; ++p) {
      const float* from = b + p * s.ldb;
      float* to = packed + p * kPanel;
      for (int64_t j = 0; j < whole; j += kPanel) {
        hn::Store(hn::LoadU(d, from + j), d, to + j * terms);
        hn::Store(hn::LoadU(d, from + j + kLanes), d, to + j * terms + kLanes);
      }
    }
  }
  const float* end = b + (terms - 1) * s.ldb + cols;
  for (int64_t column = s.transpose_b ? 0 : whole; column < cols; column += kLanes) {
    const int64_t some = std::min(cols - column, kLanes);
    float* to = packed + column / kPanel * kPanel * terms + column % kPanel;
    if (s.transpose_b) {
      pack_column(b + column * s.ldb, s.ldb, some, terms, 1.0f, to);
    } else {
      // Whole vectors, as long as they end within B.
      const auto real = hn::FirstN(d, static_cast<size_t>(some));
      int64_t p = 0;
      for (; p < terms && b + p * s.ldb + column + kLanes <= end; ++p) {
        hn::Store(hn::IfThenElseZero(real, hn::LoadU(d, b + p * s.ldb + column)), d, to + p * kPanel);
      }
      for (; p < terms; ++p) {
        for (int64_t j = 0; j < kLanes; ++j) to[p * kPanel + j] = j < some ? b[p * s.ldb + column + j] : 0.0f;
      }
    }
  }
}

// Tile after tile, packed[p·height + i] = A[p, row + i], where A lies in columns.
void pack_columns(const Heights& heights, int64_t rows, int64_t terms, const float* a, int64_t lda,
                  float* packed) {
  const F d;
  int64_t row = 0;
  for (int64_t tile = 0; tile < heights.tiles; ++tile) {
    const int64_t height = heights.of(tile);
    // Whole vectors where A goes on: what is too much is written over by the next term.
    const int64_t whole = round_up(height, kLanes);
    if (row + whole <= rows) {
      for (int64_t p = 0; p < terms; ++p) {
        for (int64_t i = 0; i < whole; i += kLanes) {
          hn::StoreU(hn::LoadU(d, a + p * lda + row + i), d, packed + p * height + i);
        }
      }
    } else {
      for (int64_t p = 0; p < terms; ++p) {
        for (int64_t i = 0; i < height; ++i) packed[p * height + i] = a[p * lda + row + i];
      }
    }
    packed += height * terms;
    row += height;
  }
}

// A group of rows of A as tiles read it.
struct Rows {
  const float* a;
  int64_t lda;
  bool columns;  // A is stored [terms][rows]
  bool packed;   // tile after tile, by pack_columns
};

// Whether a copy of A pays: the rows of a tile would share few lines of the first-level cache, or its columns
// be read at too great a distance too often.
bool copies_a(const MatmulLayout& s, int64_t m, int64_t n) {
  return s.transpose_a ? m > 1 && n >= kColumnsWorthCopy
                       : m >= kRowsWorthPacking && n >= kRowsWorthCopy && s.lda % kBadStride == 0;
}

Rows copied(const Heights& heights, const Rows& from, int64_t rows, int64_t terms, float* to) {
  if (from.columns) {
    pack_columns(heights, rows, terms, from.a, from.lda, to);
    return {to, 0, true, true};
  }
  const int64_t stride = round_up(terms, kLine) + kLine;
  for (int64_t i = 0; i < rows; ++i) std::copy_n(from.a + i * from.lda, terms, to + i * stride);
  return {to, stride, false, false};
}

// One tile on the side, for C has no whole vectors there.
HWY_NOINLINE void edge_tile(TileFunction tile, Tile t, int64_t rows, int64_t cols) {
  alignas(64) float side[kProductRows * kPanel] = {};
  float* c = t.c;
  const int64_t ldc = t.ldc;
  for (int64_t i = 0; t.add && i < rows; ++i) std::copy_n(c + i * ldc, cols, side + i * kPanel);
  t.c = side;
  t.ldc = kPanel;
  tile(t);
  for (int64_t i = 0; i < rows; ++i) std::copy_n(side + i * kPanel, cols, c + i * ldc);
}

// C[rows][cols] (+)= op(A) · B for one panel's columns.
void panel_product(const Heights& heights, const Rows& rows, Tile t, int64_t cols) {
  const int64_t vectors = cols > kLanes ? 2 : 1;
  t.a = rows.a;
  t.lda = rows.lda;
  for (int64_t tile = 0; tile < heights.tiles; ++tile) {
    const int64_t height = heights.of(tile);
    if (rows.packed) t.lda = height;
    const float* next = t.a + (rows.packed ? height * t.terms : rows.columns ? height : height * t.lda);
    t.ahead = tile + 1 < heights.tiles ? next : rows.a;
    const TileFunction function = tile_of(height, vectors, rows.columns);
    if (cols == vectors * kLanes) {
      function(t);
    } else {
      edge_tile(function, t, height, cols);
    }
    t.a = next;
    t.c += height * t.ldc;
  }
}

// As many columns of C as tiles of few rows take at once, wide enough to keep eight sums going; returns how
// many.
template <int kRows, int kVectors>
int64_t wide_product(bool columns, Tile t, int64_t cols) {
  int64_t done = 0;
  t.ahead = t.a;
  for (; done + kVectors * kLanes <= cols; done += kVectors * kLanes) {
    columns ? product_tile<kRows, kVectors, true>(t) : product_tile<kRows, kVectors, false>(t);
    t.b += kVectors / 2 * t.next_panel;
    t.c += kVectors * kLanes;
  }
  return done;
}
int64_t few_rows_product(int64_t rows, bool columns, const Tile& t, int64_t cols) {
  if (rows == 1) return wide_product<1, 8>(columns, t, cols);
  return rows == 2 ? wide_product<2, 4>(columns, t, cols) : 0;
}

}  // namespace

void tile_product_body(const MatmulLayout& s, int64_t m, int64_t n, const float* a, const float* b, bool add,
                       float* c) {
  if (m == 1 && n >= kLanes && !s.transpose_b) {
    return row_product(n, s.k, a, s.transpose_a ? s.lda : 1, b, s.ldb, add, c);
  }
  const bool pack_a = copies_a(s, m, n);
  const bool in_place =
      !s.transpose_b && m < (s.ldb % kBadStride == 0 ? kBadRowsWorthPacking : kRowsWorthPacking);
  Buffer<float> panels(kTerms * kPanels * kPanel);
  Buffer<float> copy(pack_a ? (kTerms + 2 * kLine) * kGroup : 0);
  const int64_t stretches = (s.k + kTerms - 1) / kTerms;
  const int64_t groups = (m + kGroup - 1) / kGroup;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t row = m * g / groups, rows = m * (g + 1) / groups - row;
    const Heights heights(rows);
    for (int64_t stretch = 0; stretch < stretches; ++stretch) {
      const int64_t from = s.k * stretch / stretches, terms = s.k * (stretch + 1) / stretches - from;
      Rows group{a + s.offset_a(row) + (s.transpose_a ? from * s.lda : from), s.lda, s.transpose_a, false};
      if (pack_a) group = copied(heights, group, rows, terms, copy.data());
      const float* b_from = b + (s.transpose_b ? from : from * s.ldb);
      Tile t{terms,  group.a,         group.lda, b_from,  s.ldb,
             kPanel, c + row * s.ldc, s.ldc,     group.a, add || from > 0};
      int64_t column = 0;
      if (in_place) {
        if (!pack_a) column = few_rows_product(m, s.transpose_a, t, n);
        for (; column + kPanel <= n; column += kPanel) {
          t.b = b_from + column;
          t.c = c + column;
          panel_product(heights, group, t, kPanel);
        }
      }
      t.ldb = kPanel;
      t.next_panel = kPanel * terms;
      for (; column < n; column += kPanels * kPanel) {
        const int64_t width = std::min(kPanels * kPanel, n - column);
        pack_panels(s, b_from + s.offset_b(column), terms, width, panels.data());
        t.b = panels.data();
        t.c = c + row * s.ldc + column;
        for (int64_t j = pack_a ? 0 : few_rows_product(m, s.transpose_a, t, width); j < width; j += kPanel) {
          t.b = panels.data() + j * terms;
          t.c = c + row * s.ldc + column + j;
          panel_product(heights, group, t, std::min(kPanel, width - j));
        }
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
