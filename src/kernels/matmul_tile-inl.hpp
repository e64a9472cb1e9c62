// The register tile of float32 products, for every height and both ways in which A may lie. Included once a
// target.
#if defined(FOVEA_MATMUL_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_MATMUL_TILE_INL
#undef FOVEA_MATMUL_TILE_INL
#else
#define FOVEA_MATMUL_TILE_INL
#endif

#include <hwy/cache_control.h>

#include <array>
#include <utility>

#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// Rows of a tile two vectors wide. Of 32 registers 24 hold sums, 2 a row of B and 1 an element of A; of 16,
// 12, 2 and 1. Without a fused multiply-add one more is needed in between.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
inline constexpr int kProductRows = 12;
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kProductRows = 6;
#else
inline constexpr int kProductRows = 4;
#endif

// Where the operands of a tile lie; C has whole vectors. `ahead` is fetched meanwhile: the first rows of A
// that the next tile reads, at the same distance from each other.
struct Tile {
  int64_t terms;
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb;
  int64_t next_panel;  // from a panel of B to the next, where a tile is wider than one
  float* c;
  int64_t ldc;
  const float* ahead;
  bool add;
};

// C[kRows][kVectors·kLanes] (+)= op(A) · B, one chain of multiply-adds an element. kColumns: A is stored
// [terms][rows].
template <int kRows, int kVectors, bool kColumns>
HWY_NOINLINE void product_tile(const Tile& t) {
  const F d;
  V acc[kRows][kVectors];
  float* HWY_RESTRICT c = t.c;
  if (t.add) {
    FOVEA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      FOVEA_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::LoadU(d, c + i * t.ldc + v * kLanes);
    }
  } else {
    FOVEA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      hwy::Prefetch(c + i * t.ldc);
      FOVEA_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::Zero(d);
    }
  }
  const float* HWY_RESTRICT a = t.a;
  const float* HWY_RESTRICT b = t.b;
  const float* ahead = t.ahead;
  const int64_t lda = t.lda, ldb = t.ldb, next_panel = t.next_panel, terms = t.terms;
  for (int64_t from = 0; from < terms; from += 16) {
    const int64_t some = std::min<int64_t>(16, terms - from);
    if (!kColumns) {
      FOVEA_UNROLL
      for (int i = 0; i < kRows; ++i) hwy::Prefetch(ahead + i * lda);
      ahead += 16;
    }
    for (int64_t p = 0; p < some; ++p) {
      V bv[kVectors];
      FOVEA_UNROLL
      for (int v = 0; v < kVectors; ++v) bv[v] = hn::LoadU(d, b + v / 2 * next_panel + v % 2 * kLanes);
      FOVEA_UNROLL
      for (int i = 0; i < kRows; ++i) {
        V av = hn::Set(d, kColumns ? a[i] : a[i * lda]);
        if (kVectors > 1) keep_in_register(av);
        FOVEA_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::MulAdd(av, bv[v], acc[i][v]);
      }
      a += kColumns ? lda : 1;
      b += ldb;
    }
  }
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FOVEA_UNROLL
    for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[i][v], d, c + i * t.ldc + v * kLanes);
  }
}

using TileFunction = void (*)(const Tile&);

template <int kVectors, bool kColumns, int... kRows>
constexpr std::array<TileFunction, sizeof...(kRows)> tile_table(std::integer_sequence<int, kRows...>) {
  return {product_tile<kRows + 1, kVectors, kColumns>...};
}

// The tile of so many rows, one or two vectors wide.
HWY_INLINE TileFunction tile_of(int64_t rows, int64_t vectors, bool columns) {
  using Heights = std::make_integer_sequence<int, kProductRows>;
  static constexpr std::array<std::array<TileFunction, kProductRows>, 4> kTables{
      tile_table<1, false>(Heights()), tile_table<2, false>(Heights()), tile_table<1, true>(Heights()),
      tile_table<2, true>(Heights())};
  return kTables[static_cast<size_t>(vectors - 1 + (columns ? 2 : 0))][static_cast<size_t>(rows - 1)];
}

// How `rows` rows are shared out among tiles: as evenly as can be, for a tile of few rows waits for its sums.
struct Heights {
  explicit Heights(int64_t rows)
      : tiles((rows + kProductRows - 1) / kProductRows), least(rows / tiles), taller(rows % tiles) {}
  int64_t tiles, least, taller;
  int64_t of(int64_t tile) const { return least + (tile < taller ? 1 : 0); }
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
