// Scores that are distances: −Σ_c (q_c − k_c)² is computed from the differences themselves, two instructions
// a number in place of one. Expanded into products it would lose everything where |q| and |k| are large
// beside |q − k|; so would its gradients, ∓Σ dS·(q − k).
#if defined(FOVEA_ATTENTION_DIFFERENCES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_DIFFERENCES_INL
#undef FOVEA_ATTENTION_DIFFERENCES_INL
#else
#define FOVEA_ATTENTION_DIFFERENCES_INL
#endif

#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// acc − (a − b)²
struct SubtractSquare {
  static HWY_INLINE V step(V a, V b, V acc) {
    const V x = hn::Sub(a, b);
    return hn::NegMulAdd(x, x, acc);
  }
};

// What queries are multiplied with when they are packed: distances are scaled once they are known.
HWY_INLINE float packed_scale(const AttentionHead& h) {
  return h.differences ? 1.0f : h.scale * kLog2E;
}

// s := unit·(s + Δt²) on a column, Δt the difference of a last number that the rows hold in two parts.
inline HWY_NOINLINE void finish_distances(const AttentionHead& h, KeyRun run, const float* k, int64_t ldk,
                                          const float* qt, float* s, int64_t lds) {
  const F d;
  const V unit = hn::Set(d, h.scale * kLog2E);
  const int64_t at = h.width - 2;
  for (int64_t j = run.begin; j < run.end; ++j) {
    V x = hn::Load(d, s + j * lds);
    if (h.timelike) {
      const float* t = k + j * ldk + at;
      const V high = hn::Sub(hn::Load(d, qt + at * kPanel), hn::Set(d, t[0]));
      const V low = hn::Sub(hn::Load(d, qt + (at + 1) * kPanel), hn::Set(d, t[1]));
      const V difference = hn::Add(high, low);
      x = hn::MulAdd(difference, difference, x);
    }
    hn::Store(hn::Mul(unit, x), d, s + j * lds);
  }
}

// The scores of a panel of packed queries in units of log2, S[key][panel], on the runs; key 0 is the block's
// first.
template <class Fetch = NothingAhead>
HWY_INLINE void scores_over_runs(const AttentionHead& h, const PanelRuns& runs, const float* k, int64_t ldk,
                                 const float* qt, float* s, int64_t lds, Fetch&& ahead = {}) {
  if (!h.differences) return rows_over_runs(runs, h.width, k, ldk, qt, s, lds, ahead);
  rows_over_runs<SubtractSquare>(runs, h.width - (h.timelike ? 2 : 0), k, ldk, qt, s, lds, ahead);
  for (int64_t c = 0; c < 2; ++c)
    finish_distances(h, runs.column[c], k, ldk, qt + c * kLanes, s + c * kLanes, lds);
}

// C[rows][lanes] += Σ_p (A[p][row] − base[row][lanes])·B[p][lanes]; base and C lie at strides of kPanel.
template <int kRows>
HWY_NOINLINE void difference_columns_tile(int64_t depth, const float* HWY_RESTRICT a, int64_t lda,
                                          const float* HWY_RESTRICT b, int64_t ldb,
                                          const float* HWY_RESTRICT base, float* HWY_RESTRICT c) {
  const F d;
  V acc[kRows], from[kRows];
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    acc[i] = hn::Load(d, c + i * kPanel);
    from[i] = hn::Load(d, base + i * kPanel);
  }
  for (int64_t p = 0; p < depth; ++p) {
    const V bv = hn::Load(d, b + p * ldb);
    FOVEA_UNROLL
    for (int i = 0; i < kRows; ++i)
      acc[i] = hn::MulAdd(hn::Sub(hn::Set(d, a[p * lda + i]), from[i]), bv, acc[i]);
  }
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) hn::Store(acc[i], d, c + i * kPanel);
}

// dQᵀ[width][panel] += Σ_j (k_j − q)·dS[j] on the runs, qt as packed; `fresh`: the column holds nothing yet.
inline HWY_NOINLINE void difference_columns_over_runs(const PanelRuns& runs, int64_t width, const float* k,
                                                      int64_t ldk, const float* ds, int64_t ldds,
                                                      const float* qt, float* dqt, bool (&fresh)[2]) {
  for (int64_t c = 0; c < 2; ++c) {
    const KeyRun run = runs.column[c];
    if (run.begin >= run.end) continue;
    if (fresh[c]) zero_column(dqt + c * kLanes, width);
    fresh[c] = false;
    const float *a = k + run.begin * ldk, *b = ds + run.begin * ldds + c * kLanes;
    const int64_t depth = run.end - run.begin, at = c * kLanes;
    int64_t i = 0;
    for (; i + 4 <= width; i += 4)
      difference_columns_tile<4>(depth, a + i, ldk, b, ldds, qt + i * kPanel + at, dqt + i * kPanel + at);
    for (; i < width; ++i)
      difference_columns_tile<1>(depth, a + i, ldk, b, ldds, qt + i * kPanel + at, dqt + i * kPanel + at);
  }
}

// C[rows][lanes] += Σ_p A[row][p]·(B[p][lanes] − base[row][lanes])
template <int kRows>
HWY_NOINLINE void difference_rows_tile(int64_t depth, const float* HWY_RESTRICT a, int64_t lda,
                                       const float* HWY_RESTRICT b, int64_t ldb,
                                       const float* HWY_RESTRICT base, int64_t ld_base, float* HWY_RESTRICT c,
                                       int64_t ldc) {
  const F d;
  V acc[kRows], from[kRows];
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) {
    acc[i] = hn::LoadU(d, c + i * ldc);
    from[i] = hn::LoadU(d, base + i * ld_base);
  }
  for (int64_t p = 0; p < depth; ++p) {
    const V bv = hn::LoadU(d, b + p * ldb);
    FOVEA_UNROLL
    for (int i = 0; i < kRows; ++i)
      acc[i] = hn::MulAdd(hn::Set(d, a[i * lda + p]), hn::Sub(bv, from[i]), acc[i]);
  }
  FOVEA_UNROLL
  for (int i = 0; i < kRows; ++i) hn::StoreU(acc[i], d, c + i * ldc);
}

// dK[key][width] += Σ_i dS[key][i]·(q_i − k[key]); width in whole vectors.
inline HWY_NOINLINE void difference_rows_product(int64_t keys, int64_t depth, const float* ds, int64_t ldds,
                                                 const float* q, int64_t ldq, const float* k, int64_t ldk,
                                                 float* dk, int64_t ld_dk, int64_t width) {
  for (int64_t c = 0; c < width; c += kLanes) {
    int64_t j = 0;
    for (; j + 4 <= keys; j += 4) {
      difference_rows_tile<4>(depth, ds + j * ldds, ldds, q + c, ldq, k + j * ldk + c, ldk,
                              dk + j * ld_dk + c, ld_dk);
    }
    for (; j < keys; ++j) {
      difference_rows_tile<1>(depth, ds + j * ldds, ldds, q + c, ldq, k + j * ldk + c, ldk,
                              dk + j * ld_dk + c, ld_dk);
    }
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
