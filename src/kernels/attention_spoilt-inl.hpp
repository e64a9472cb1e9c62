// NaN and ∞ in what backward reads. There a hidden pair is a product with 0, and 0·NaN would reach rows and
// keys that do not see each other. So a row that holds one counts as 0, and what it should reach is made NaN:
// the weights and the score gradients of the pairs that do see each other.
#if defined(FOVEA_ATTENTION_SPOILT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_SPOILT_INL
#undef FOVEA_ATTENTION_SPOILT_INL
#else
#define FOVEA_ATTENTION_SPOILT_INL
#endif

#include <limits>

#include "fovea/tensor/dtype.hpp"
#include "kernels/attention_mask-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// What queries, or keys, add to the weights and to the score gradients that they have a part in: 0 or NaN.
struct Spoilt {
  float *weight = nullptr, *score = nullptr;
};

// Whether some key is out of some query's sight. If not, nothing here is needed.
HWY_INLINE bool hides_pairs(const AttentionHead& h) {
  return h.mask != nullptr || h.tile_rows != nullptr || h.bias != nullptr ||
         first_key(h, h.q_length - 1) > 0 || end_key(h, 0) < h.k_length;
}
// Whether some query sees each key. Then a value that is not finite spoils a δ. (So may a key; but its scores
// may all be −∞, and weigh 0.)
HWY_INLINE bool sees_every_key(const AttentionHead& h) {
  return h.mask == nullptr && h.tile_rows == nullptr && h.bias == nullptr && first_key(h, 0) == 0 &&
         end_key(h, h.q_length - 1) == h.k_length;
}

HWY_INLINE bool is_finite(float x) {
  return x - x == 0.0f;
}

inline HWY_NOINLINE bool finite_rows(const float* x, int64_t stride, int64_t rows, int64_t width) {
  const F d;
  const V zero = hn::Zero(d);
  V poison[4] = {zero, zero, zero, zero};  // 0·x is NaN for what is not finite
  float rest = 0.0f;
  for (int64_t i = 0; i < rows; ++i) {
    const float* row = x + i * stride;
    int64_t c = 0;
    for (; c + 4 * kLanes <= width; c += 4 * kLanes) {
      FOVEA_UNROLL
      for (int n = 0; n < 4; ++n) poison[n] = hn::MulAdd(hn::LoadU(d, row + c + n * kLanes), zero, poison[n]);
    }
    for (; c + kLanes <= width; c += kLanes)
      poison[i % 4] = hn::MulAdd(hn::LoadU(d, row + c), zero, poison[i % 4]);
    for (; c < width; ++c) rest += row[c] * 0.0f;
  }
  const V all = hn::Add(hn::Add(poison[0], poison[1]), hn::Add(poison[2], poison[3]));
  return hn::AllTrue(d, hn::Eq(hn::Add(all, hn::Set(d, rest)), zero));
}

inline HWY_NOINLINE bool finite_rows(const BFloat16* x, int64_t stride, int64_t rows, int64_t width) {
  bool finite = true;
  for (int64_t i = 0; i < rows; ++i) {
    uint16_t most = 0;
    for (int64_t c = 0; c < width; ++c)
      most = std::max<uint16_t>(most, static_cast<uint16_t>(x[i * stride + c].bits & 0x7FFF));
    finite &= most < 0x7F80;
  }
  return finite;
}

// Marks the keys that are not finite, by what they spoil; those become 0 in the copies k and v.
template <class T>
void mark_keys(T* k, int64_t ldk, int64_t width, T* v, int64_t ldv, int64_t value_width, int64_t keys,
               Spoilt spoilt) {
  for (int64_t j = 0; j < keys; ++j) {
    const bool in_key = !finite_rows(k + j * ldk, 0, 1, width);
    const bool in_value = !finite_rows(v + j * ldv, 0, 1, value_width);
    if (in_key) {
      std::fill_n(k + j * ldk, width, T());
      spoilt.weight[j] = std::numeric_limits<float>::quiet_NaN();
    }
    if (in_value) std::fill_n(v + j * ldv, value_width, T());
    if (in_key || in_value) spoilt.score[j] = std::numeric_limits<float>::quiet_NaN();
  }
}

// What stands for the maximum of a query that sees no key: above every score by so much that all weights are
// 0.
inline constexpr float kNoKeys = 3.4e38f;

// Whether what the softmax left (SoftmaxRow) and δ of a block's queries say that all is well: where q is not
// finite, maximum or sum is not, or says that there are no keys (but for sinks); where dO or O is not, δ is
// not.
HWY_INLINE bool sound_statistics(const float* max, const float* log_sum, const float* delta, int64_t rows) {
  bool sound = true;
  for (int64_t i = 0; i < rows; ++i)
    sound &= is_finite(max[i]) && max[i] != kNoKeys && is_finite(log_sum[i]) && is_finite(delta[i]);
  return sound;
}

// What is known of each query of a block.
struct QueryStatistics {
  float *max, *log_sum, *delta;
};

// Marks the queries of a block that are not finite, puts finite numbers in place of their statistics, and
// says whether there are any. clear(i): q and dO of query i are to be 0.
template <class T, class Clear>
bool mark_queries(const T* q, int64_t q_stride, int64_t width, const T* dout, int64_t dout_stride,
                  int64_t value_width, int64_t rows, const QueryStatistics& of, Spoilt spoilt, Clear clear) {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  bool any = false;
  for (int64_t i = 0; i < rows; ++i) {
    if (!is_finite(of.delta[i])) {
      of.delta[i] = 0.0f;
      spoilt.score[i] = kNaN;
      any = true;
    }
    if (is_finite(of.max[i]) && is_finite(of.log_sum[i]) && finite_rows(q + i * q_stride, 0, 1, width) &&
        finite_rows(dout + i * dout_stride, 0, 1, value_width))
      continue;
    of.max[i] = kNoKeys;
    of.log_sum[i] = 0.0f;
    spoilt.weight[i] = spoilt.score[i] = kNaN;
    clear(i);
    any = true;
  }
  return any;
}

// P := 2^((S − max) − log_sum) of a column of `rows` queries, by power(x) = 2^x, and `score` what is to be
// added to its dS; 0 where a query does not see a key. `queries` is of the column, `keys` of the key block.
template <int64_t kLd, class Power>
HWY_INLINE void weigh_seen(float* s, KeyRun run, int64_t rows, const float* max, const float* log_sum,
                           Spoilt queries, Spoilt keys, float* score, Power power) {
  const F d;
  const auto exist = hn::FirstN(d, static_cast<size_t>(rows));
  const V most = hn::Load(d, max), minus = hn::Load(d, log_sum);
  const V weight = hn::LoadU(d, queries.weight), add = hn::LoadU(d, queries.score);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V x = hn::Load(d, s + j * kLd);
    const auto seen = hn::AndNot(hn::Eq(x, hn::Set(d, kMasked)), exist);
    const V p = hn::Add(power(hn::Sub(hn::Sub(x, most), minus)), hn::Add(weight, hn::Set(d, keys.weight[j])));
    hn::Store(hn::IfThenElseZero(seen, p), d, s + j * kLd);
    hn::Store(hn::IfThenElseZero(seen, hn::Add(add, hn::Set(d, keys.score[j]))), d, score + j * kLd);
  }
}

// dS += what weigh_seen has said.
template <int64_t kLd>
HWY_NOINLINE void spoil_scores(float* ds, KeyRun run, const float* score) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j)
    hn::Store(hn::Add(hn::Load(d, ds + j * kLd), hn::Load(d, score + j * kLd)), d, ds + j * kLd);
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
