// What backward on bf16 pairs does to one column (kLanes queries): weights and score gradients, rounded to
// the places from which the products read them.
#if defined(FOVEA_ATTENTION_PAIR_GRADIENT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_PAIR_GRADIENT_INL
#undef FOVEA_ATTENTION_PAIR_GRADIENT_INL
#else
#define FOVEA_ATTENTION_PAIR_GRADIENT_INL
#endif

#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_pair_softmax-inl.hpp"
#include "kernels/attention_spoilt-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

inline constexpr int64_t kPanels = 4;  // of a query block: the depth of the products for dV and dK
inline constexpr int64_t kBlock = kPanels * kPanel;  // queries of a block
inline constexpr int64_t kColumns = kBlock / kLanes;
inline constexpr int64_t kBlockPairs = kBlock / 2;

// Where the weights and score gradients of a column go: P to rows of bf16, dS to rows and to pairs of keys.
struct GradientPlaces {
  float *p_rows, *ds_rows, *ds;
};

// Two keys' weights and score gradients, rounded; the second key exists unless the run ends before it.
HWY_INLINE void store_gradients(int64_t j, bool second, const V* weight, const V* score,
                                const GradientPlaces& to) {
  const F d;
  for (int64_t n = 0; n < (second ? 2 : 1); ++n) {
    round_and_store(weight[n], to.p_rows + (j + n) * kBlockPairs);
    round_and_store(score[n], to.ds_rows + (j + n) * kBlockPairs);
  }
  hn::Store(round_to_pairs(score[0], second ? score[1] : hn::Zero(d)), d, to.ds + j / 2 * kPanel);
}

// P = 2^((unit·S − max) − log_sum) and dS = P∘(dP − δ) of a column.
inline HWY_NOINLINE void gradient_column(const float* s, const float* dp, KeyRun run, float unit,
                                         const QueryStatistics& of, const GradientPlaces& to) {
  const F d;
  const V factor = hn::Set(d, unit), most = hn::Load(d, of.max), log_sum = hn::Load(d, of.log_sum),
          minus = hn::Load(d, of.delta);
  for (int64_t j = run.begin; j < run.end; j += 2) {
    const bool second = j + 1 < run.end;
    V weight[2], score[2];
    for (int64_t n = 0; n < (second ? 2 : 1); ++n) {
      weight[n] =
          coarse_exp2(hn::Sub(hn::Sub(hn::Mul(hn::Load(d, s + (j + n) * kPanel), factor), most), log_sum));
      score[n] = hn::Mul(weight[n], hn::Sub(hn::Load(d, dp + (j + n) * kPanel), minus));
    }
    store_gradients(j, second, weight, score, to);
  }
}

// P := 2^((S − max) − log_sum).
inline HWY_NOINLINE void weigh_column(float* s, KeyRun run, const QueryStatistics& of) {
  const F d;
  const V most = hn::Load(d, of.max), log_sum = hn::Load(d, of.log_sum);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V x = hn::Sub(hn::Sub(hn::Load(d, s + j * kPanel), most), log_sum);
    hn::Store(coarse_exp2(x), d, s + j * kPanel);
  }
}

// dS in the place of dP. Under dropout dP counts only for kept weights; P loses the dropped ones, the rest
// grow.
inline HWY_NOINLINE void score_gradient_column(const AttentionHead& h, QueryColumn q, int64_t block, float* p,
                                               float* dp, KeyRun run, const float* delta) {
  const F d;
  const V minus = hn::Load(d, delta), keep = hn::Set(d, h.keep_scale);
  if (h.drop_below != 0) {
    for_kept(h, q, block, run, [=](int64_t j, auto kept) HWY_ATTR {
      const V weight = hn::Load(d, p + j * kPanel);
      const V kept_dp = hn::IfThenElseZero(kept, hn::Mul(hn::Load(d, dp + j * kPanel), keep));
      hn::Store(hn::Mul(weight, hn::Sub(kept_dp, minus)), d, dp + j * kPanel);
      hn::Store(hn::IfThenElseZero(kept, hn::Mul(weight, keep)), d, p + j * kPanel);
    });
    return;
  }
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V weight = hn::Load(d, p + j * kPanel);
    hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, dp + j * kPanel), minus)), d, dp + j * kPanel);
  }
}

// P and dS where they have been computed in float32, rounded to their places; `factor` (null: 1) is the
// softcap's derivative.
inline HWY_NOINLINE void round_gradients(const float* p, const float* ds, KeyRun run, const float* factor,
                                         const GradientPlaces& to) {
  const F d;
  for (int64_t j = run.begin; j < run.end; j += 2) {
    const bool second = j + 1 < run.end;
    V weight[2], score[2];
    for (int64_t n = 0; n < (second ? 2 : 1); ++n) {
      const int64_t at = (j + n) * kPanel;
      weight[n] = hn::Load(d, p + at);
      score[n] = hn::Load(d, ds + at);
      if (factor != nullptr) score[n] = hn::Mul(score[n], hn::Load(d, factor + at));
    }
    store_gradients(j, second, weight, score, to);
  }
}

// What lies outside a column's run may lie inside its neighbours', once masks cut it: rows of P or dS, one
// vector of bf16 wide, count as 0 there.
inline HWY_NOINLINE void zero_outside(float* rows, KeyRun run, int64_t keys) {
  const int64_t begin = run.begin == run.end ? keys : run.begin;
  for (int64_t j = 0; j < begin; ++j) std::memset(rows + j * kBlockPairs, 0, kLanes * sizeof(BFloat16));
  for (int64_t j = std::max(begin, run.end); j < keys; ++j)
    std::memset(rows + j * kBlockPairs, 0, kLanes * sizeof(BFloat16));
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
