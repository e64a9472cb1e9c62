// Register tiles, packing and exp2, shared by the attention kernels. Included once a target.
#if defined(FOVEA_ATTENTION_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_TILE_INL
#undef FOVEA_ATTENTION_TILE_INL
#else
#define FOVEA_ATTENTION_TILE_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/attention_ahead-inl.hpp"
#include "kernels/attention_kernels.hpp"

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

// Inside, a masked score; below kFloor, which is the least running maximum, so that it always weighs exactly
// 0.
inline constexpr float kMasked = -1e30f;
inline constexpr float kFloor = -1e29f;
inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr float kLn2 = 0.693147180559945309f;

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
template <class Fetch = NothingAhead>
HWY_INLINE void rows_over_runs(const PanelRuns& r, int64_t depth, const float* a, int64_t lda, const float* b,
                               float* c, int64_t ldc, Fetch&& ahead = {}) {
  rows_product<1, false, MultiplyAdd>(r.first.end - r.first.begin, depth, a + r.first.begin * lda, lda, b,
                                      kPanel, c + r.first.begin * ldc, ldc, ahead);
  rows_product<2, false, MultiplyAdd>(r.both.end - r.both.begin, depth, a + r.both.begin * lda, lda, b,
                                      kPanel, c + r.both.begin * ldc, ldc, ahead);
  rows_product<1, false, MultiplyAdd>(r.second.end - r.second.begin, depth, a + r.second.begin * lda, lda,
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

#if HWY_TARGET != HWY_SCALAR
// Vectors of four floats of rows block, so that 128-bit block b of result j is row 4b + j.
HWY_INLINE V load_blocks(const float* const* rows, int64_t j, int64_t column) {
  const hn::FixedTag<float, 4> d4;
#if HWY_TARGET == HWY_AVX3
  const hn::FixedTag<float, 8> d8;
  const F d;
  const auto low = hn::Combine(d8, hn::LoadU(d4, rows[4 + j] + column), hn::LoadU(d4, rows[j] + column));
  const auto high =
      hn::Combine(d8, hn::LoadU(d4, rows[12 + j] + column), hn::LoadU(d4, rows[8 + j] + column));
  return hn::Combine(d, high, low);
#elif HWY_TARGET == HWY_AVX2
  const F d;
  return hn::Combine(d, hn::LoadU(d4, rows[4 + j] + column), hn::LoadU(d4, rows[j] + column));
#else
  return hn::LoadU(d4, rows[j] + column);
#endif
}

// The reverse: block b of vector j goes to row 4b + j of x.
HWY_INLINE void store_blocks(V v, float* x, int64_t stride, int64_t j) {
  const hn::FixedTag<float, 4> d4;
  x += j * stride;
#if HWY_TARGET == HWY_AVX3
  const hn::FixedTag<float, 8> d8;
  const auto low = hn::LowerHalf(d8, v);
  const auto high = hn::UpperHalf(d8, v);
  hn::StoreU(hn::LowerHalf(d4, low), d4, x);
  hn::StoreU(hn::UpperHalf(d4, low), d4, x + 4 * stride);
  hn::StoreU(hn::LowerHalf(d4, high), d4, x + 8 * stride);
  hn::StoreU(hn::UpperHalf(d4, high), d4, x + 12 * stride);
#elif HWY_TARGET == HWY_AVX2
  hn::StoreU(hn::LowerHalf(d4, v), d4, x);
  hn::StoreU(hn::UpperHalf(d4, v), d4, x + 4 * stride);
#else
  static_cast<void>(stride);
  hn::StoreU(v, d4, x);
#endif
}

// Transposes 4 × 4 within each 128-bit block.
HWY_INLINE void transpose_blocks(V& a, V& b, V& c, V& e) {
  const F d;
  const hn::Repartition<double, F> d2;
  const auto t0 = hn::BitCast(d2, hn::InterleaveLower(d, a, b));
  const auto t1 = hn::BitCast(d2, hn::InterleaveLower(d, c, e));
  const auto t2 = hn::BitCast(d2, hn::InterleaveUpper(d, a, b));
  const auto t3 = hn::BitCast(d2, hn::InterleaveUpper(d, c, e));
  a = hn::BitCast(d, hn::InterleaveLower(d2, t0, t1));
  b = hn::BitCast(d, hn::InterleaveUpper(d2, t0, t1));
  c = hn::BitCast(d, hn::InterleaveLower(d2, t2, t3));
  e = hn::BitCast(d, hn::InterleaveUpper(d2, t2, t3));
}

// Transposes kLanes rows of kLanes floats: v[i], lane j becomes v[j], lane i.
HWY_INLINE void transpose_square(V (&v)[kLanes]) {
  FOVEA_UNROLL
  for (int g = 0; g < kLanes; g += 4) transpose_blocks(v[g], v[g + 1], v[g + 2], v[g + 3]);
    // v[4g + j] now holds, in block b, column 4b + j of rows 4g … 4g + 3.
#if HWY_TARGET == HWY_AVX3
  FOVEA_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m512 a = v[j].raw, b = v[4 + j].raw, c = v[8 + j].raw, e = v[12 + j].raw;
    const __m512 ab_low = _mm512_shuffle_f32x4(a, b, 0x44), ab_high = _mm512_shuffle_f32x4(a, b, 0xEE);
    const __m512 ce_low = _mm512_shuffle_f32x4(c, e, 0x44), ce_high = _mm512_shuffle_f32x4(c, e, 0xEE);
    v[j] = V{_mm512_shuffle_f32x4(ab_low, ce_low, 0x88)};
    v[4 + j] = V{_mm512_shuffle_f32x4(ab_low, ce_low, 0xDD)};
    v[8 + j] = V{_mm512_shuffle_f32x4(ab_high, ce_high, 0x88)};
    v[12 + j] = V{_mm512_shuffle_f32x4(ab_high, ce_high, 0xDD)};
  }
#elif HWY_TARGET == HWY_AVX2
  const F d;
  FOVEA_UNROLL
  for (int j = 0; j < 4; ++j) {
    const V low = hn::ConcatLowerLower(d, v[4 + j], v[j]);
    v[4 + j] = hn::ConcatUpperUpper(d, v[4 + j], v[j]);
    v[j] = low;
  }
#endif
}
#endif

// packed[c·kPanel + lane] = scale · x[lane·stride + c] for kLanes rows, of which `rows` exist; the others
// give 0.
inline HWY_NOINLINE void pack_column(const float* x, int64_t stride, int64_t rows, int64_t width, float scale,
                                     float* packed) {
  const F d;
  [[maybe_unused]] const V factor = hn::Set(d, scale);
  const float* row[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) row[i] = x + std::min(i, rows - 1) * stride;
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  const auto exist = hn::FirstN(d, static_cast<size_t>(rows));
  for (; c + kLanes <= width;
       c += kLanes) {  // whole vectors of each row, so that its cache lines are read once
    V v[kLanes];
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i) v[i] = hn::LoadU(d, row[i] + c);
    transpose_square(v);
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i)
      hn::Store(hn::IfThenElseZero(exist, hn::Mul(v[i], factor)), d, packed + (c + i) * kPanel);
  }
  for (; c + 4 <= width; c += 4) {
    V v[4] = {load_blocks(row, 0, c), load_blocks(row, 1, c), load_blocks(row, 2, c), load_blocks(row, 3, c)};
    transpose_blocks(v[0], v[1], v[2], v[3]);
    for (int64_t i = 0; i < 4; ++i) {
      hn::Store(hn::IfThenElseZero(exist, hn::Mul(v[i], factor)), d, packed + (c + i) * kPanel);
    }
  }
#endif
  for (; c < width; ++c) {
    for (int64_t i = 0; i < kLanes; ++i) packed[c * kPanel + i] = i < rows ? scale * row[i][c] : 0.0f;
  }
}

// x[lane·stride + c] (+)= factor[lane] · packed[c·kLd + lane] for the first `rows` lanes. Returns whether
// all of factor·packed is finite (0·x is NaN for the others).
template <bool kAdd, int64_t kLd = kPanel>
inline HWY_NOINLINE bool unpack_column(const float* packed, V factor, int64_t rows, int64_t width, float* x,
                                       int64_t stride) {
  const F d;
  const V zero = hn::Zero(d);
  V poison = zero;
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; c + kLanes <= width; c += kLanes) {
    V v[kLanes];
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i) {
      v[i] = hn::Mul(hn::Load(d, packed + (c + i) * kLd), factor);
      poison = hn::MulAdd(v[i], zero, poison);
    }
    transpose_square(v);
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i) {
      float* to = x + i * stride + c;
      if (i < rows) hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, to), v[i]) : v[i], d, to);
    }
  }
  alignas(64) float block[4 * kLanes];  // four columns, as rows
  const hn::FixedTag<float, 4> d4;
  for (; c + 4 <= width; c += 4) {
    V v[4];
    for (int64_t i = 0; i < 4; ++i) {
      v[i] = hn::Mul(hn::Load(d, packed + (c + i) * kLd), factor);
      poison = hn::MulAdd(v[i], zero, poison);
    }
    transpose_blocks(v[0], v[1], v[2], v[3]);
    if (!kAdd && rows == kLanes) {
      for (int64_t j = 0; j < 4; ++j) store_blocks(v[j], x + c, stride, j);
      continue;
    }
    for (int64_t j = 0; j < 4; ++j) hn::Store(v[j], d, block + j * kLanes);
    for (int64_t i = 0; i < rows; ++i) {
      auto row = hn::Load(d4, block + i % 4 * kLanes + i / 4 * 4);
      if (kAdd) row = hn::Add(hn::LoadU(d4, x + i * stride + c), row);
      hn::StoreU(row, d4, x + i * stride + c);
    }
  }
#endif
  alignas(64) float lanes[kLanes] = {};
  for (; c < width; ++c) {
    const V v = hn::Mul(hn::Load(d, packed + c * kLd), factor);
    poison = hn::MulAdd(v, zero, poison);
    hn::Store(v, d, lanes);
    for (int64_t i = 0; i < rows; ++i) {
      float& element = x[i * stride + c];
      element = kAdd ? element + lanes[i] : lanes[i];
    }
  }
  return hn::AllTrue(d, hn::Eq(poison, zero));
}

// Rows to a contiguous (ld = padded) place, the padding zeroed.
HWY_INLINE void copy_rows(const float* x, int64_t stride, int64_t rows, int64_t width, float* to,
                          int64_t ld) {
  const F d;
  for (int64_t i = 0; i < rows; ++i) {
    const float* HWY_RESTRICT from = x + i * stride;
    float* HWY_RESTRICT row = to + i * ld;
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) hn::StoreU(hn::LoadU(d, from + c), d, row + c);
    for (; c < width; ++c) row[c] = from[c];
    for (; c < ld; ++c) row[c] = 0.0f;
  }
}

HWY_INLINE int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
