// What backward does to one column (kLanes queries), in float32: δ; and of a tile of scores weights, score
// gradients, dropout. `kLd` is the length of a key's row.
#if defined(FOVEA_ATTENTION_GRADIENT_COLUMNS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_GRADIENT_COLUMNS_INL
#undef FOVEA_ATTENTION_GRADIENT_COLUMNS_INL
#else
#define FOVEA_ATTENTION_GRADIENT_COLUMNS_INL
#endif

#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// δ of kLanes rows, of which `rows` exist: products are summed along the rows, then across them all at once.
inline HWY_NOINLINE void delta_column(const float* out, int64_t out_stride, const float* dout,
                                      int64_t dout_stride, int64_t rows, int64_t width, float* delta) {
  const F d;
  alignas(64) float sums[kLanes * kLanes];
  const float* row[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    row[i] = sums + i * kLanes;
    V sum = hn::Zero(d);
    if (i < rows) {
      const float* a = out + i * out_stride;
      const float* b = dout + i * dout_stride;
      int64_t c = 0;
      for (; c + kLanes <= width; c += kLanes)
        sum = hn::MulAdd(hn::LoadU(d, a + c), hn::LoadU(d, b + c), sum);
      hn::Store(sum, d, sums + i * kLanes);
      for (; c < width; ++c) sums[i * kLanes] += a[c] * b[c];
    } else {
      hn::Store(sum, d, sums + i * kLanes);
    }
  }
#if HWY_TARGET == HWY_SCALAR
  delta[0] = *row[0];
#else
  V total = hn::Zero(d);
  for (int64_t c = 0; c < kLanes; c += 4) {
    V v[4] = {load_blocks(row, 0, c), load_blocks(row, 1, c), load_blocks(row, 2, c), load_blocks(row, 3, c)};
    transpose_blocks(v[0], v[1], v[2], v[3]);
    total = hn::Add(total, hn::Add(hn::Add(v[0], v[1]), hn::Add(v[2], v[3])));
  }
  hn::Store(total, d, delta);
#endif
}

// P := 2^((S − max) − log_sum), of SoftmaxRow.
template <int64_t kLd>
HWY_NOINLINE void exp_column(float* s, KeyRun run, const float* max, const float* log_sum) {
  const F d;
  const V most = hn::Load(d, max), minus = hn::Load(d, log_sum);
  const auto weight = [&](const float* score)
                          HWY_ATTR { return exp2_of(hn::Sub(hn::Sub(hn::Load(d, score), most), minus)); };
  int64_t j = run.begin;
  for (; j + 4 <= run.end; j += 4) {
    float* row = s + j * kLd;
    const V p0 = weight(row), p1 = weight(row + kLd);
    const V p2 = weight(row + 2 * kLd), p3 = weight(row + 3 * kLd);
    hn::Store(p0, d, row);
    hn::Store(p1, d, row + kLd);
    hn::Store(p2, d, row + 2 * kLd);
    hn::Store(p3, d, row + 3 * kLd);
  }
  for (; j < run.end; ++j) hn::Store(weight(s + j * kLd), d, s + j * kLd);
}

// dS := scale·P∘(dP − δ), in place of dP.
template <int64_t kLd>
HWY_NOINLINE void score_gradient_column(const float* p, float* dp, KeyRun run, const float* delta,
                                        float scale) {
  const F d;
  const V minus = hn::Load(d, delta), factor = hn::Set(d, scale);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V weight = hn::Mul(hn::Load(d, p + j * kLd), factor);
    hn::Store(hn::Mul(weight, hn::Sub(hn::Load(d, dp + j * kLd), minus)), d, dp + j * kLd);
  }
}

// The same under dropout, where dP counts only for kept weights; P loses the dropped ones, the rest grow.
template <int64_t kLd>
HWY_NOINLINE void dropped_gradient_column(float* p, float* dp, KeyRun run, const float* delta, float scale,
                                          const AttentionHead& h, QueryColumn q, int64_t block) {
  const F d;
  const V minus = hn::Load(d, delta), factor = hn::Set(d, scale), keep = hn::Set(d, h.keep_scale);
  for_kept(h, q, block, run, [=](int64_t j, auto kept) HWY_ATTR {
    const V weight = hn::Load(d, p + j * kLd);
    const V kept_dp = hn::IfThenElseZero(kept, hn::Load(d, dp + j * kLd));
    hn::Store(hn::Mul(hn::Mul(weight, factor), hn::Sub(kept_dp, minus)), d, dp + j * kLd);
    hn::Store(hn::IfThenElseZero(kept, hn::Mul(weight, keep)), d, p + j * kLd);
  });
}

template <int64_t kLd>
HWY_NOINLINE void scale_column(float* ds, KeyRun run, float scale) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) {
    hn::Store(hn::Mul(hn::Load(d, ds + j * kLd), hn::Set(d, scale)), d, ds + j * kLd);
  }
}

template <int64_t kLd>
HWY_NOINLINE void multiply_column(float* ds, const float* factor, KeyRun run) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) {
    hn::Store(hn::Mul(hn::Load(d, ds + j * kLd), hn::Load(d, factor + j * kLd)), d, ds + j * kLd);
  }
}

// What lies outside a column's run may lie inside its neighbours', once masks cut it: it counts as 0 there.
template <int64_t kLd>
HWY_NOINLINE void zero_outside(float* x, KeyRun run, int64_t keys) {
  const F d;
  const int64_t begin = run.begin == run.end ? keys : run.begin;
  for (int64_t j = 0; j < begin; ++j) hn::Store(hn::Zero(d), d, x + j * kLd);
  for (int64_t j = std::max(begin, run.end); j < keys; ++j) hn::Store(hn::Zero(d), d, x + j * kLd);
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
