// Register tiles and exp2, shared by the attention kernels. Included once a target.
#if defined(FOVEA_ATTENTION_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_TILE_INL
#undef FOVEA_ATTENTION_TILE_INL
#else
#define FOVEA_ATTENTION_TILE_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/attention_ahead-inl.hpp"
#include "kernels/attention_kernels.hpp"
#include "kernels/attention_units.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using I = hn::ScalableTag<int32_t>;
using V = hn::Vec<F>;
using VI = hn::Vec<I>;

inline constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(F()));
inline constexpr int64_t kPanel = 2 * kLanes;  // queries of a register tile
inline constexpr int64_t kKeyBlock = 64;       // keys between two looks at the running maximum
#undef FOVEA_ATTENTION_SHORT_TILES
#undef FOVEA_UNROLL
// Rows of a register tile: 8 × 2 accumulators leave room among 32 registers, 4 × 2 among 16; both hide the
// latency of two multiply-adds a cycle.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
#define FOVEA_ATTENTION_SHORT_TILES 1
inline constexpr int kTileRows = 4;
#else
#define FOVEA_ATTENTION_SHORT_TILES 0
inline constexpr int kTileRows = 8;
#endif

inline constexpr float kMasked = -HUGE_VALF;  // a hidden score
inline constexpr float kFloor = kLeastMaximum;

// Keeps a broadcast in its register: g++ would otherwise fold the load into each of its uses and become
// load-bound.
HWY_INLINE void keep_in_register([[maybe_unused]] V& v) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  asm("" : "+v"(v.raw));
#endif
}

// 2^x with relative error <= 2e-7 for x >= −126, down to exactly 0 from −151 on (other targets than AVX-512:
// from −126); −∞ gives 0, NaN gives NaN. Degree-5 minimax on [−½, ½].
HWY_INLINE V exp2_of(V x) {
  const F d;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  x = hn::Max(hn::Set(d, -200.0f), x);  // of a NaN and a number, x86 returns the second
#else
  x = hn::IfThenElse(hn::Lt(x, hn::Set(d, -200.0f)), hn::Set(d, -200.0f), x);
#endif
  const V r = hn::Round(x);
  const V f = hn::Sub(x, r);
  V p = hn::MulAdd(hn::Set(d, 1.3276472e-3f), f, hn::Set(d, 9.675541e-3f));
  p = hn::MulAdd(p, f, hn::Set(d, 5.550713e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.402212e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.9314694e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
#if HWY_TARGET == HWY_AVX3
  return V{_mm512_scalef_ps(p.raw, r.raw)};
#else
  const I di;
  const auto exponent =
      hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, hn::Max(hn::Set(d, -126.0f), r)), hn::Set(di, 127)));
  const V scaled = hn::Mul(p, hn::BitCast(d, exponent));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), scaled);
#endif
}

// Unrolled early, or g++ keeps the accumulators in memory around the loop.
#if defined(__clang__)
#define FOVEA_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FOVEA_UNROLL _Pragma("GCC unroll 16")
#endif

// One step of a product: acc + a·b in each lane. attention_pairs-inl.hpp has those of bf16 pairs.
struct MultiplyAdd {
  static HWY_INLINE V step(V a, V b, V acc) { return hn::MulAdd(a, b, acc); }
};

// C[rows][panel] (+)= A · B, A row-major [rows][depth] broadcast, B [depth][panel]. Not inlined: inside a
// large function compilers spill the accumulators.
template <int kRows, int kVectors, bool kAccumulate, class Step = MultiplyAdd>
inline HWY_NOINLINE void rows_tile(int64_t depth, const float* HWY_RESTRICT a, int64_t lda,
                                   const float* HWY_RESTRICT b, int64_t ldb, float* HWY_RESTRICT c,
                                   int64_t ldc) {
  const F d;
  V acc[kRows][kVectors];
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FOVEA_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[i][v] = kAccumulate ? hn::LoadU(d, c + i * ldc + v * kLanes) : hn::Zero(d);
    }
  }
  for (int64_t p = 0; p < depth; ++p) {
    V bv[kVectors];
    FOVEA_UNROLL
    for (int v = 0; v < kVectors; ++v) bv[v] = hn::LoadU(d, b + p * ldb + v * kLanes);
    FOVEA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      V av = hn::Set(d, a[i * lda + p]);
      if (kVectors > 1) keep_in_register(av);
      FOVEA_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = Step::step(av, bv[v], acc[i][v]);
    }
  }
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FOVEA_UNROLL
    for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[i][v], d, c + i * ldc + v * kLanes);
  }
}

// C[rows][panel] (+)= Aᵀ · B, A [depth][rows] broadcast, B [depth][panel].
template <int kRows, int kVectors, bool kAccumulate>
inline HWY_NOINLINE void columns_tile(int64_t depth, const float* HWY_RESTRICT a, int64_t lda,
                                      const float* HWY_RESTRICT b, int64_t ldb, float* HWY_RESTRICT c,
                                      int64_t ldc) {
  const F d;
  V acc[kRows][kVectors];
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FOVEA_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      acc[i][v] = kAccumulate ? hn::LoadU(d, c + i * ldc + v * kLanes) : hn::Zero(d);
    }
  }
  for (int64_t p = 0; p < depth; ++p) {
    V bv[kVectors];
    FOVEA_UNROLL
    for (int v = 0; v < kVectors; ++v) bv[v] = hn::LoadU(d, b + p * ldb + v * kLanes);
    FOVEA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      V av = hn::Set(d, a[p * lda + i]);
      if (kVectors > 1) keep_in_register(av);
      FOVEA_UNROLL
      for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::MulAdd(av, bv[v], acc[i][v]);
    }
  }
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    FOVEA_UNROLL
    for (int v = 0; v < kVectors; ++v) hn::StoreU(acc[i][v], d, c + i * ldc + v * kLanes);
  }
}

template <int kVectors, bool kAccumulate, class Step = MultiplyAdd>
HWY_INLINE void rows_tail(int64_t rows, int64_t depth, const float* a, int64_t lda, const float* b,
                          int64_t ldb, float* c, int64_t ldc) {
  switch (rows) {
    case 1:
      return rows_tile<1, kVectors, kAccumulate, Step>(depth, a, lda, b, ldb, c, ldc);
    case 2:
      return rows_tile<2, kVectors, kAccumulate, Step>(depth, a, lda, b, ldb, c, ldc);
    case 3:
      return rows_tile<3, kVectors, kAccumulate, Step>(depth, a, lda, b, ldb, c, ldc);
#if !FOVEA_ATTENTION_SHORT_TILES
    case 4:
      return rows_tile<4, kVectors, kAccumulate, Step>(depth, a, lda, b, ldb, c, ldc);
    case 5:
      return rows_tile<5, kVectors, kAccumulate, Step>(depth, a, lda, b, ldb, c, ldc);
    case 6:
      return rows_tile<6, kVectors, kAccumulate, Step>(depth, a, lda, b, ldb, c, ldc);
    case 7:
      return rows_tile<7, kVectors, kAccumulate, Step>(depth, a, lda, b, ldb, c, ldc);
#endif
    default:
      return;
  }
}

// C[rows][kVectors·kLanes] (+)= A[rows][depth] · B, with a step of `ahead` after each tile.
template <int kVectors, bool kAccumulate, class Step = MultiplyAdd, class Fetch = NothingAhead>
HWY_INLINE void rows_product(int64_t rows, int64_t depth, const float* a, int64_t lda, const float* b,
                             int64_t ldb, float* c, int64_t ldc, Fetch&& ahead = {}) {
  int64_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) {
    rows_tile<kTileRows, kVectors, kAccumulate, Step>(depth, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
    ahead.step();
  }
  rows_tail<kVectors, kAccumulate, Step>(rows - i, depth, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
}

// C[rows][kVectors·kLanes] (+)= A[depth][rows]ᵀ · B, likewise.
template <int kVectors, bool kAccumulate, class Fetch = NothingAhead>
HWY_INLINE void columns_product(int64_t rows, int64_t depth, const float* a, int64_t lda, const float* b,
                                int64_t ldb, float* c, int64_t ldc, Fetch&& ahead = {}) {
  if (depth <= 0) return;
  int64_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows) {
    columns_tile<kTileRows, kVectors, kAccumulate>(depth, a + i, lda, b, ldb, c + i * ldc, ldc);
    ahead.step();
  }
  a += i;
  c += i * ldc;
  switch (rows - i) {
    case 1:
      return columns_tile<1, kVectors, kAccumulate>(depth, a, lda, b, ldb, c, ldc);
    case 2:
      return columns_tile<2, kVectors, kAccumulate>(depth, a, lda, b, ldb, c, ldc);
    case 3:
      return columns_tile<3, kVectors, kAccumulate>(depth, a, lda, b, ldb, c, ldc);
#if !FOVEA_ATTENTION_SHORT_TILES
    case 4:
      return columns_tile<4, kVectors, kAccumulate>(depth, a, lda, b, ldb, c, ldc);
    case 5:
      return columns_tile<5, kVectors, kAccumulate>(depth, a, lda, b, ldb, c, ldc);
    case 6:
      return columns_tile<6, kVectors, kAccumulate>(depth, a, lda, b, ldb, c, ldc);
    case 7:
      return columns_tile<7, kVectors, kAccumulate>(depth, a, lda, b, ldb, c, ldc);
#endif
    default:
      return;
  }
}

// n a multiple of kLanes.
HWY_INLINE void zero_floats(float* x, int64_t n) {
  const F d;
  for (int64_t i = 0; i < n; i += kLanes) hn::Store(hn::Zero(d), d, x + i);
}

// The keys [begin, end) of a key block that the two columns (vectors) of a panel look at, cut into runs that
// either the first, both, or the second column sees: the dead corners of a diagonal are never computed.
struct KeyRun {
  int64_t begin, end;
};
struct PanelRuns {
  KeyRun column[2];  // what each column needs; [0, 0) when it needs nothing
  KeyRun first, both, second;
};

HWY_INLINE PanelRuns cut_runs(KeyRun a, KeyRun b) {
  PanelRuns r{{a, b}, {0, 0}, {0, 0}, {0, 0}};
  if (b.begin >= a.end) {  // no key is shared
    r.first = a;
    r.second = b;
    return r;
  }
  r.first = {a.begin, b.begin};
  r.both = {b.begin, a.end};
  r.second = {a.end, b.end};
  return r;
}

// S[key][panel] (columns at s, s + kLanes) = K · Qᵀ on the runs; key 0 is the block's first.
template <class Step = MultiplyAdd, class Fetch = NothingAhead>
HWY_INLINE void rows_over_runs(const PanelRuns& r, int64_t depth, const float* a, int64_t lda, const float* b,
                               float* c, int64_t ldc, Fetch&& ahead = {}) {
  rows_product<1, false, Step>(r.first.end - r.first.begin, depth, a + r.first.begin * lda, lda, b, kPanel,
                               c + r.first.begin * ldc, ldc, ahead);
  rows_product<2, false, Step>(r.both.end - r.both.begin, depth, a + r.both.begin * lda, lda, b, kPanel,
                               c + r.both.begin * ldc, ldc, ahead);
  rows_product<1, false, Step>(r.second.end - r.second.begin, depth, a + r.second.begin * lda, lda,
                               b + kLanes, kPanel, c + r.second.begin * ldc + kLanes, ldc, ahead);
}

// n floats of a column of a panel.
HWY_INLINE void zero_column(float* x, int64_t n) {
  const F d;
  for (int64_t i = 0; i < n; ++i) hn::Store(hn::Zero(d), d, x + i * kPanel);
}

// C[rows][panel] += A[key][rows]ᵀ · P[key][panel] on the runs; `fresh`: the column of C holds nothing yet.
template <class Fetch = NothingAhead>
HWY_INLINE void columns_over_runs(const PanelRuns& r, int64_t rows, const float* a, int64_t lda,
                                  const float* p, int64_t ldp, float* c, bool (&fresh)[2],
                                  Fetch&& ahead = {}) {
  const int64_t first = r.first.end - r.first.begin, both = r.both.end - r.both.begin;
  const int64_t second = r.second.end - r.second.begin;
  if (both > 0) {
    a += r.both.begin * lda;
    p += r.both.begin * ldp;
    if (fresh[0] && fresh[1]) {
      columns_product<2, false>(rows, both, a, lda, p, ldp, c, kPanel, ahead);
    } else {
      for (int64_t i = 0; i < 2; ++i) {
        if (fresh[i]) zero_column(c + i * kLanes, rows);
      }
      columns_product<2, true>(rows, both, a, lda, p, ldp, c, kPanel, ahead);
    }
    fresh[0] = fresh[1] = false;
    a -= r.both.begin * lda;
    p -= r.both.begin * ldp;
  }
  const auto alone = [&](const KeyRun& run, int64_t column) HWY_ATTR {
    const int64_t keys = run.end - run.begin;
    const float* from = p + run.begin * ldp + column * kLanes;
    if (fresh[column]) {
      columns_product<1, false>(rows, keys, a + run.begin * lda, lda, from, ldp, c + column * kLanes, kPanel,
                                ahead);
    } else {
      columns_product<1, true>(rows, keys, a + run.begin * lda, lda, from, ldp, c + column * kLanes, kPanel,
                               ahead);
    }
    fresh[column] = false;
  };
  if (first > 0) alone(r.first, 0);
  if (second > 0) alone(r.second, 1);
}

HWY_INLINE int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
