// The softmax of a column of scores with its weights rounded to pairs, and products over the runs of a panel.
#if defined(FOVEA_ATTENTION_PAIR_SOFTMAX_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_PAIR_SOFTMAX_INL
#undef FOVEA_ATTENTION_PAIR_SOFTMAX_INL
#else
#define FOVEA_ATTENTION_PAIR_SOFTMAX_INL
#endif

#include <type_traits>

#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_pairs-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// The running maximum may lie this far (log2) below the true one: weights then reach 2^8, sums stay exact,
// and the output is rescaled at a few blocks of a row instead of most.
inline constexpr float kSlack = 8.0f;

// 2^x with relative error <= 3e-6, of which bf16 keeps 4e-3: degree 4, minimax. −∞ gives 0, NaN gives NaN.
HWY_INLINE V coarse_exp2(V x) {
  const F d;
#if HWY_TARGET == HWY_AVX3
  // Two instructions take 2^x apart at the floor and put it together again, whatever x is.
  const V f{_mm512_reduce_ps(x.raw, 9)};  // x − ⌊x⌋
  V p = hn::MulAdd(hn::Set(d, 1.3534168e-2f), f, hn::Set(d, 5.201146e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.4144275e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.9300383e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0000026f));
  return V{_mm512_scalef_ps(p.raw, x.raw)};
#else
#if HWY_TARGET == HWY_AVX2
  x = hn::Max(hn::Set(d, -200.0f), x);  // of a NaN and a number, x86 returns the second
#else
  x = hn::IfThenElse(hn::Lt(x, hn::Set(d, -200.0f)), hn::Set(d, -200.0f), x);
#endif
  const V r = hn::Round(x);
  const V f = hn::Sub(x, r);
  V p = hn::MulAdd(hn::Set(d, 9.570102207e-3f), f, hn::Set(d, 5.591786280e-2f));
  p = hn::MulAdd(p, f, hn::Set(d, 2.402474433e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 6.931217909e-1f));
  p = hn::MulAdd(p, f, hn::Set(d, 9.999992847e-1f));
  const I di;
  const auto exponent =
      hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, hn::Max(hn::Set(d, -126.0f), r)), hn::Set(di, 127)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -126.0f)), hn::Mul(p, hn::BitCast(d, exponent)));
#endif
}

// Scores may be masked before they are multiplied by a unit above this: kMasked, −∞, stays what it is.
inline constexpr float kLeastMaskUnit = 1e-30f;

// Whether a column sees less than all of a run, so that a mask must be applied.
HWY_INLINE bool is_edge(const AttentionHead& h, QueryColumn q, KeyRun run, int64_t block) {
  return run.begin + block < first_key(h, q.row + q.rows - 1) || run.end + block > end_key(h, q.row);
}

// Whether scores pass more than masks: they must be scaled before.
HWY_INLINE bool modifies(const AttentionHead& h) {
  return h.softcap > 0.0f || h.distance != nullptr || h.bias != nullptr;
}

inline HWY_NOINLINE void keep_scores(const float* s, KeyRun run, float* kept) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) hn::Store(hn::Load(d, s + j * kPanel), d, kept + j * kPanel);
}

// The state of a column: kLanes floats each.
struct SoftmaxLanes {
  float *max, *sum, *slope, *alpha;
};

// P := 2^(unit·S − m) on a column with the new maximum m, as pairs to p, or (not kRound) as floats in place
// of S; an odd last key is paired with weight 0. Returns whether Oᵀ of the column must be rescaled by alpha.
template <bool kStatistics, bool kRound>
HWY_NOINLINE bool softmax_pairs(float* s, float* p, KeyRun run, float unit, const SoftmaxLanes& lanes) {
  const F d;
  const V factor = hn::Set(d, unit);
  V m0 = hn::Load(d, s + run.begin * kPanel), m1 = m0, m2 = m0, m3 = m0;
  int64_t j = run.begin;
  for (; j + 4 <= run.end; j += 4) {
    m0 = hn::Max(m0, hn::Load(d, s + j * kPanel));
    m1 = hn::Max(m1, hn::Load(d, s + (j + 1) * kPanel));
    m2 = hn::Max(m2, hn::Load(d, s + (j + 2) * kPanel));
    m3 = hn::Max(m3, hn::Load(d, s + (j + 3) * kPanel));
  }
  for (; j < run.end; ++j) m0 = hn::Max(m0, hn::Load(d, s + j * kPanel));
  const V old_max = hn::Load(d, lanes.max);
  const V block_max = hn::Mul(hn::Max(hn::Max(m0, m1), hn::Max(m2, m3)), factor);
  const auto exceeds = hn::Gt(block_max, hn::Add(old_max, hn::Set(d, kSlack)));
  const V new_max = hn::IfThenElse(exceeds, block_max, old_max);
  V l0 = hn::Zero(d), l1 = l0, l2 = l0, l3 = l0;
  V t0 = l0, t1 = l0;
  const V least = hn::Set(d, -200.0f);  // keeps 0·(−∞) out of the statistics
  const auto weigh = [&](float* row, V& l, V& t) HWY_ATTR {
    // Not a fused multiply-subtract: scores scaled beforehand (by 1 then) must give the same bits.
    const V x = hn::Sub(hn::Mul(hn::Load(d, row), factor), new_max);
    const V weight = coarse_exp2(x);
    l = hn::Add(l, weight);
    if (kStatistics) t = hn::MulAdd(weight, hn::Max(least, x), t);
    if (!kRound) hn::Store(weight, d, row);
    return weight;
  };
  for (j = run.begin; j + 4 <= run.end; j += 4) {
    float* row = s + j * kPanel;
    const V p0 = weigh(row, l0, t0), p1 = weigh(row + kPanel, l1, t1);
    const V p2 = weigh(row + 2 * kPanel, l2, t0), p3 = weigh(row + 3 * kPanel, l3, t1);
    if (kRound) hn::Store(round_to_pairs(p0, p1), d, p + j / 2 * kPanel);
    if (kRound) hn::Store(round_to_pairs(p2, p3), d, p + (j / 2 + 1) * kPanel);
  }
  for (; j < run.end; j += 2) {
    const V p0 = weigh(s + j * kPanel, l0, t0);
    const V p1 = j + 1 < run.end ? weigh(s + (j + 1) * kPanel, l1, t1) : hn::Zero(d);
    if (kRound) hn::Store(round_to_pairs(p0, p1), d, p + j / 2 * kPanel);
  }
  const V alpha = coarse_exp2(hn::Sub(old_max, new_max));
  const V old_sum = hn::Load(d, lanes.sum);
  if (kStatistics) {  // rebased on the new maximum
    const V old_slope = hn::Load(d, lanes.slope);
    const V moved = hn::Mul(hn::MulAdd(old_sum, hn::Max(least, hn::Sub(old_max, new_max)), old_slope), alpha);
    hn::Store(hn::Add(hn::IfThenElse(exceeds, moved, old_slope), hn::Add(t0, t1)), d, lanes.slope);
  }
  const V kept = hn::IfThenElse(exceeds, hn::Mul(old_sum, alpha), old_sum);
  hn::Store(hn::Add(kept, hn::Add(hn::Add(l0, l1), hn::Add(l2, l3))), d, lanes.sum);
  hn::Store(new_max, d, lanes.max);
  hn::Store(hn::IfThenElse(exceeds, alpha, hn::Set(d, 1.0f)), d, lanes.alpha);
  return !hn::AllFalse(d, exceeds);
}

// Weights in place of scores to pairs.
inline HWY_NOINLINE void round_column(const float* s, KeyRun run, float* p) {
  const F d;
  for (int64_t j = run.begin; j < run.end; j += 2) {
    const V high = j + 1 < run.end ? hn::Load(d, s + (j + 1) * kPanel) : hn::Zero(d);
    hn::Store(round_to_pairs(hn::Load(d, s + j * kPanel), high), d, p + j / 2 * kPanel);
  }
}

inline HWY_NOINLINE void scale_scores(float* s, KeyRun run, float unit) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) {
    hn::Store(hn::Mul(hn::Load(d, s + j * kPanel), hn::Set(d, unit)), d, s + j * kPanel);
  }
}

// Changes the sign of both halves of each pair of a column.
HWY_INLINE void negate_pairs(float* x, int64_t pairs) {
  const F d;
  const U32 du;
  for (int64_t p = 0; p < pairs; ++p) {
    const auto bits = hn::Xor(hn::BitCast(du, hn::Load(d, x + p * kPanel)), hn::Set(du, 0x80008000u));
    hn::Store(hn::BitCast(d, bits), d, x + p * kPanel);
  }
}

// Rows of floats to bf16, to nearest with ties to even, NaN staying NaN.
inline HWY_NOINLINE void round_rows(const float* x, int64_t ld, int64_t rows, int64_t width, BFloat16* to,
                                    int64_t stride) {
  const F d;
  const U32 du;
  const U16 d16;
  for (int64_t i = 0; i < rows; ++i) {
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) {
      const auto u = hn::BitCast(du, hn::LoadU(d, x + i * ld + c));
      const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
      const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(du, 0x7FFFu))));
      const auto quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(du, 0x40u));
      const auto is_nan = hn::Gt(hn::And(u, hn::Set(du, 0x7FFFFFFFu)), hn::Set(du, 0x7F800000u));
      const auto bits = hn::BitCast(hn::RebindToSigned<U32>(), hn::IfThenElse(is_nan, quiet, rounded));
      hn::StoreU(hn::DemoteTo(d16, bits), d16, &to[i * stride + c].bits);
    }
    for (; c < width; ++c) to[i * stride + c] = BFloat16(x[i * ld + c]);
  }
}

// S[key][panel] = K · Qᵀ on the runs; key 0 is the block's first.
template <class Products>
HWY_INLINE void score_runs(const PanelRuns& r, int64_t pairs, const float* k, const float* q, float* s) {
  const auto part = [&](KeyRun run, auto vectors, int64_t column) HWY_ATTR {
    if (run.begin == run.end) return;
    Products::template product<decltype(vectors)::value, false>(
        run.end - run.begin, pairs, k + run.begin * pairs, pairs, q + column, kPanel,
        s + run.begin * kPanel + column, kPanel);
  };
  part(r.first, std::integral_constant<int, 1>(), 0);
  part(r.both, std::integral_constant<int, 2>(), 0);
  part(r.second, std::integral_constant<int, 1>(), kLanes);
}

// C[rows][panel] += A[rows][key pairs] · P[key pairs][panel] on the runs; `fresh`: C holds nothing yet.
template <class Products>
HWY_INLINE void add_runs(const PanelRuns& r, int64_t rows, const float* a, int64_t lda, const float* p,
                         float* c, bool& fresh) {
  const auto part = [&](KeyRun run, auto vectors, int64_t column) HWY_ATTR {
    if (run.begin == run.end) return;
    Products::template product<decltype(vectors)::value, true>(
        rows, (run.end + 1) / 2 - run.begin / 2, a + run.begin / 2, lda, p + run.begin / 2 * kPanel + column,
        kPanel, c + column, kPanel);
  };
  if (fresh) {
    fresh = false;
    if (r.first.begin == r.first.end && r.second.begin == r.second.end) {
      if (r.both.begin == r.both.end) return zero_floats(c, rows * kPanel);
      Products::template product<2, false>(rows, (r.both.end + 1) / 2 - r.both.begin / 2,
                                           a + r.both.begin / 2, lda, p + r.both.begin / 2 * kPanel, kPanel,
                                           c, kPanel);
      return;
    }
    zero_floats(c, rows * kPanel);
  }
  part(r.first, std::integral_constant<int, 1>(), 0);
  part(r.both, std::integral_constant<int, 2>(), 0);
  part(r.second, std::integral_constant<int, 1>(), kLanes);
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
