// What happens to a tile of scores between Q·K and the softmax: softcap, biases, masks; and dropout
// of weights. Each is a pass over one column (kLanes queries) of a tile in the first-level cache, called only
// for tiles that need it, so that the plain case carries no branch and variants need no instantiation of
// their own.
#if defined(FOVEA_ATTENTION_MODIFY_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_MODIFY_INL
#undef FOVEA_ATTENTION_MODIFY_INL
#else
#define FOVEA_ATTENTION_MODIFY_INL
#endif

#include <hwy/contrib/math/math-inl.h>

#include "kernels/attention_mask-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// tanh(x) with relative error <= 5e-7, ±1 beyond 8.3, NaN for NaN: x·P(x²)/Q(x²), a minimax fit on [0, 8.3]
// (1e-8; the rest is rounding). One division, or on AVX-512 an approximation and a Newton step.
HWY_INLINE V tanh_of(V x) {
  const F d;
  const V most = hn::Set(d, 8.3f), least = hn::Set(d, -8.3f);
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  x = hn::Min(most, hn::Max(least, x));  // of a NaN and a number, x86 returns the second
#else
  x = hn::IfThenElse(hn::Lt(x, least), least, hn::IfThenElse(hn::Gt(x, most), most, x));
#endif
  const V y = hn::Mul(x, x);
  V p = hn::MulAdd(hn::Set(d, 1.464816135e-8f), y, hn::Set(d, 2.150842466e-5f));
  V q = hn::MulAdd(hn::Set(d, 8.295068394e-7f), y, hn::Set(d, 3.373943356e-4f));
  p = hn::MulAdd(p, y, hn::Set(d, 3.549164785e-3f));
  q = hn::MulAdd(q, y, hn::Set(d, 2.607993306e-2f));
  p = hn::MulAdd(p, y, hn::Set(d, 1.342586678e-1f));
  q = hn::MulAdd(q, y, hn::Set(d, 4.675919161e-1f));
  p = hn::Mul(x, hn::MulAdd(p, y, hn::Set(d, 1.0f)));
  q = hn::MulAdd(q, y, hn::Set(d, 1.0f));
#if HWY_TARGET == HWY_AVX3
  const V r = hn::ApproximateReciprocal(q);  // 2^-14
  return hn::Mul(p, hn::MulAdd(hn::NegMulAdd(q, r, hn::Set(d, 1.0f)), r, r));
#else
  return hn::Div(p, q);
#endif
}

// ln x of a sum of weights; NaN where that is not finite, which Highway's logarithm takes for a number.
HWY_INLINE V log_of_sum(V x) {
  const F d;
  return hn::Add(hn::Log(d, x), hn::Sub(x, x));
}

// Counts the excess beyond ±1e38 whole that within_range has halved. What is finite stays finite: the last
// bit of a sum near the largest float would round to infinity.
HWY_INLINE V whole_term(V held) {
  const F d;
  const V limit = hn::Set(d, kPlainTerm), largest = hn::Set(d, std::numeric_limits<float>::max());
  const V excess = hn::Sub(held, hn::Min(limit, hn::Max(hn::Neg(limit), held)));
  const V whole = hn::Min(largest, hn::Max(hn::Neg(largest), hn::Add(held, excess)));
  return hn::IfThenElse(hn::Lt(hn::Abs(held), hn::Set(d, HUGE_VALF)), whole, held);
}

// Writes what the softmax leaves of a column of `rows` queries, element i·stride from `at` on of each; null:
// not wanted. A sum of 0 says that no key was seen.
HWY_INLINE void store_softmax_rows(V max, V sum, int64_t rows, int64_t at, int64_t stride, float* lse,
                                   SoftmaxRow* softmax) {
  if (lse == nullptr && softmax == nullptr) return;
  const F d;
  alignas(64) float natural[kLanes], most[kLanes], log_sum[kLanes];
  const auto empty = hn::Eq(sum, hn::Zero(d));
  const V none = hn::Set(d, -HUGE_VALF);
  const V log = log_of_sum(hn::IfThenElse(empty, hn::Set(d, 1.0f), sum));
  hn::Store(hn::IfThenElse(empty, none, whole_term(hn::MulAdd(max, hn::Set(d, kLn2), log))), d, natural);
  hn::Store(hn::IfThenElse(empty, none, max), d, most);
  hn::Store(hn::Mul(log, hn::Set(d, kLog2E)), d, log_sum);
  for (int64_t i = 0; i < rows; ++i) {
    if (lse != nullptr) lse[at + i * stride] = natural[i];
    if (softmax != nullptr) softmax[at + i * stride] = {most[i], log_sum[i]};
  }
}

// s := c·tanh(s / c) in units of log2; `factor` (null: not wanted) receives the derivative, 1 − tanh².
inline HWY_NOINLINE void softcap_column(float* s, int64_t ld, KeyRun run, float cap, float* factor) {
  const F d;
  const V c = hn::Set(d, cap * kLog2E), inverse = hn::Set(d, 1.0f / (cap * kLog2E)), one = hn::Set(d, 1.0f);
  const auto capped = [&](int64_t j) HWY_ATTR {
    const V t = tanh_of(hn::Mul(hn::Load(d, s + j * ld), inverse));
    hn::Store(hn::Mul(t, c), d, s + j * ld);
    return t;
  };
  int64_t j = run.begin;
  if (factor == nullptr) {
    for (; j + 2 <= run.end; j += 2) {
      capped(j);
      capped(j + 1);
    }
    if (j < run.end) capped(j);
    return;
  }
  for (; j < run.end; ++j) {
    const V t = capped(j);
    hn::Store(hn::Max(hn::Zero(d), hn::NegMulAdd(t, t, one)), d, factor + j * ld);
  }
}

// s += bias[i' − j], in units of log2. `distance` is the bias of the column's first query and the block's
// first key.
inline HWY_NOINLINE void distance_column(float* s, int64_t ld, KeyRun run, const float* distance) {
  const F d;
  const V unit = hn::Set(d, kLog2E);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V bias = hn::LoadU(d, distance - j);
    hn::Store(hn::MulAdd(bias, unit, hn::Load(d, s + j * ld)), d, s + j * ld);
  }
}

// The least and greatest key, relative to the block, that each query of a column sees.
HWY_INLINE void seen_keys(const AttentionHead& h, QueryColumn q, int64_t block, VI& lowest, VI& highest) {
  const I di;
  const int64_t shift = h.k_length - h.q_length + q.row - block;
  const auto limit = [](int64_t x) HWY_ATTR {
    return static_cast<int32_t>(std::clamp<int64_t>(x, -1'000'000'000, 1'000'000'000));
  };
  lowest = hn::Iota(di, limit(shift - h.left));
  highest = hn::Iota(di, limit(shift + h.right));
}

// Sets the scores of keys out of sight to kMasked. Only the keys that not every query of the column sees are
// touched.
inline HWY_NOINLINE void mask_column(float* s, int64_t ld, KeyRun run, const AttentionHead& h, QueryColumn q,
                                     int64_t block) {
  const F d;
  const I di;
  const int64_t all_from = first_key(h, q.row + q.rows - 1) - block;  // every query sees [all_from, all_to)
  const int64_t all_to = end_key(h, q.row) - block;
  VI lowest, highest;
  seen_keys(h, q, block, lowest, highest);
  const V masked = hn::Set(d, kMasked);
  for (int64_t j = run.begin; j < std::min(run.end, all_from); ++j) {
    const auto dead = hn::RebindMask(d, hn::Lt(hn::Set(di, static_cast<int32_t>(j)), lowest));
    hn::Store(hn::IfThenElse(dead, masked, hn::Load(d, s + j * ld)), d, s + j * ld);
  }
  for (int64_t j = std::max(run.begin, all_to); j < run.end; ++j) {
    const auto dead = hn::RebindMask(d, hn::Gt(hn::Set(di, static_cast<int32_t>(j)), highest));
    hn::Store(hn::IfThenElse(dead, masked, hn::Load(d, s + j * ld)), d, s + j * ld);
  }
}

// s + bias in units of log2, as in_log2_units has it; −∞ hides the key whatever s is.
HWY_INLINE V biased(V s, V bias) {
  const F d;
  const V hidden = hn::Set(d, -HUGE_VALF), most = hn::Set(d, kPlainTerm), least = hn::Set(d, -kPlainTerm);
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  const V plain = hn::Min(most, hn::Max(least, bias));  // of a NaN and a number, x86 returns the second
#else
  const V plain = hn::IfThenElse(hn::Lt(bias, least), least, hn::IfThenElse(hn::Gt(bias, most), most, bias));
#endif
  const V term = hn::MulAdd(hn::Sub(bias, plain), hn::Set(d, 0.5f), plain);
  return hn::IfThenElse(hn::Eq(bias, hidden), hn::Set(d, kMasked), hn::MulAdd(term, hn::Set(d, kLog2E), s));
}

// s += bias, in units of log2. Where bias rows lie along the keys, they are transposed.
inline HWY_NOINLINE void bias_column(float* s, int64_t ld, KeyRun run, const AttentionHead& h, QueryColumn q,
                                     int64_t block) {
  const F d;
  const int64_t along = h.bias_key_stride, across = h.bias_query_stride;
  const float* bias = h.bias + q.row * across + block * along;
  if (across == 0) {
    for (int64_t j = run.begin; j < run.end; ++j)
      hn::Store(biased(hn::Load(d, s + j * ld), hn::Set(d, bias[j * along])), d, s + j * ld);
    return;
  }
  int64_t from = run.begin;
#if HWY_TARGET != HWY_SCALAR
  if (along == 1) {
    const float* row[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) row[i] = bias + std::min(i, q.rows - 1) * across;
    for (; from + kLanes <= run.end; from += kLanes) {
      V b[kLanes];
      FOVEA_UNROLL
      for (int64_t i = 0; i < kLanes; ++i) b[i] = hn::LoadU(d, row[i] + from);
      transpose_square(b);
      FOVEA_UNROLL
      for (int64_t j = 0; j < kLanes; ++j) {
        float* to = s + (from + j) * ld;
        hn::Store(biased(hn::Load(d, to), b[j]), d, to);
      }
    }
  }
#endif
  alignas(64) float tile[kLanes] = {};
  for (int64_t j = from; j < run.end; ++j) {
    for (int64_t i = 0; i < q.rows && (along != 0 || j == from); ++i) tile[i] = bias[i * across + j * along];
    hn::Store(biased(hn::Load(d, s + j * ld), hn::Load(d, tile)), d, s + j * ld);
  }
}

// The same from a tile of it, [key][kPanel queries].
inline HWY_NOINLINE void bias_tile_column(float* s, int64_t ld, KeyRun run, const float* tile) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) {
    hn::Store(biased(hn::Load(d, s + j * ld), hn::Load(d, tile + j * kPanel)), d, s + j * ld);
  }
}

// Lists the bias of the queries [row, row + rows) and the keys of a block, which lies far apart in memory.
HWY_INLINE void add_bias_rows(const AttentionHead& h, int64_t row, int64_t rows, int64_t block, int64_t keys,
                              Ahead& ahead) {
  if (h.bias == nullptr || h.bias_key_stride != 1 || h.bias_query_stride == 0) return;
  ahead.add(h.bias + row * h.bias_query_stride + block, h.bias_query_stride, rows, keys);
}

// All of the above on one column; `factor` as in softcap_column; the bias from the column of a tile, if any.
HWY_INLINE void modify_column(float* s, int64_t ld, KeyRun run, const AttentionHead& h, QueryColumn q,
                              int64_t block, float* factor, const float* bias_tile = nullptr) {
  if (h.softcap > 0.0f) softcap_column(s, ld, run, h.softcap, factor);
  if (h.distance != nullptr)
    distance_column(s, ld, run, h.distance + h.k_length - h.q_length + q.row - block);
  if (bias_tile != nullptr) {
    bias_tile_column(s, ld, run, bias_tile);
  } else if (h.bias != nullptr) {
    bias_column(s, ld, run, h, q, block);
  }
  if (run.begin + block < first_key(h, q.row + q.rows - 1) || run.end + block > end_key(h, q.row)) {
    mask_column(s, ld, run, h, q, block);
  }
}

// The same on column c of what a panel sees, and what masks hide.
HWY_INLINE void modify_column(float* s, int64_t ld, const PanelView& view, int64_t c, const AttentionHead& h,
                              QueryColumn q, int64_t block, float* factor, const float* bias_tile = nullptr) {
  modify_column(s, ld, view.runs.column[c], h, q, block, factor, bias_tile);
  if (view.hides[c]) hide_column(s, ld, view.runs.column[c], view.words[c]);
}

using U = hn::ScalableTag<uint32_t>;
using VU = hn::Vec<U>;

// The low and high halves of a·b, lane by lane.
HWY_INLINE void multiply_wide(VU a, VU b, VU& low, VU& high) {
  const U du;
#if HWY_TARGET == HWY_SCALAR
  const uint64_t product = uint64_t{hn::GetLane(a)} * hn::GetLane(b);
  low = hn::Set(du, static_cast<uint32_t>(product));
  high = hn::Set(du, static_cast<uint32_t>(product >> 32));
#else
  const hn::Repartition<uint64_t, U> du64;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(du, hn::ShiftRight<32>(hn::BitCast(du64, a))), b);
  low = hn::OddEven(hn::BitCast(du, hn::ShiftLeft<32>(odd)), hn::BitCast(du, even));
  high = hn::OddEven(hn::BitCast(du, odd), hn::BitCast(du, hn::ShiftRight<32>(even)));
#endif
}

// Random words of eight keys for each query of a column: RandomKey::block((row << 32) | group), in lanes.
HWY_INLINE void random_words(const AttentionHead& h, VU rows, uint32_t group, VU words[4]) {
  const U du;
  VU c0 = hn::Set(du, group), c1 = rows;
  VU c2 = hn::Set(du, static_cast<uint32_t>(h.dropout_key.stream));
  VU c3 = hn::Set(du, static_cast<uint32_t>(h.dropout_key.stream >> 32));
  auto k0 = static_cast<uint32_t>(h.dropout_key.seed);
  auto k1 = static_cast<uint32_t>(h.dropout_key.seed >> 32);
  const VU m0 = hn::Set(du, 0xD2511F53u), m1 = hn::Set(du, 0xCD9E8D57u);
  for (int round = 0; round < 10; ++round) {
    VU low0, high0, low1, high1;
    multiply_wide(c0, m0, low0, high0);
    multiply_wide(c2, m1, low1, high1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(du, k0));
    c1 = low1;
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(du, k1));
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

// Calls use(j, kept) for the keys of the run, kept a mask of the queries that keep their weight on key j.
template <class Use>
HWY_INLINE void for_kept(const AttentionHead& h, QueryColumn q, int64_t block, KeyRun run, Use use) {
  const F d;
  const I di;
  const U du;
  const VU rows = hn::Add(hn::Set(du, h.dropout_row + static_cast<uint32_t>(q.row) * h.dropout_row_step),
                          hn::Mul(hn::Iota(du, 0), hn::Set(du, h.dropout_row_step)));
  const VI least = hn::Set(di, static_cast<int32_t>(h.drop_below) - 1);
  VU words[4];
  for (int64_t group = (block + run.begin) / 8; group * 8 < block + run.end; ++group) {
    random_words(h, rows, static_cast<uint32_t>(group), words);
    for (int64_t part = 0; part < 8; ++part) {
      const int64_t j = group * 8 + part - block;
      if (j < run.begin || j >= run.end) continue;
      const VU word = part % 2 == 0 ? hn::And(words[part / 2], hn::Set(du, 0xFFFFu))
                                    : hn::ShiftRight<16>(words[part / 2]);
      use(j, hn::RebindMask(d, hn::Gt(hn::BitCast(di, word), least)));
    }
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
