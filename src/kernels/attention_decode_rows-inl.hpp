// Several rows (queries × grouped heads) on the same cached keys. Four keys meet four rows (two on AVX2), so
// that a key is read and widened once for them; the sums across lanes of as many rows as a vector has blocks
// of 128 bits end as one vector of scores, [row][four keys]: softmax then works on several rows at a time.
#if defined(FOVEA_ATTENTION_DECODE_ROWS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_DECODE_ROWS_INL
#undef FOVEA_ATTENTION_DECODE_ROWS_INL
#else
#define FOVEA_ATTENTION_DECODE_ROWS_INL
#endif

#include <type_traits>

#include "kernels/attention_decode.hpp"
#include "kernels/attention_decode_seen-inl.hpp"
#include "kernels/attention_decode_tiles-inl.hpp"
#include "kernels/attention_decode_widen-inl.hpp"
#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
inline constexpr int64_t kRowsOfVector = kLanes / 4;
// Rows whose scores are summed together: 4 × 4 accumulators, 2 × 4 among AVX2's 16 registers.
inline constexpr int64_t kScoreRows = kRowsOfVector == 2 ? 2 : 4;
inline constexpr int64_t kMostVectors = kRowsOfVector == 1 ? 4 : 2;  // of rows, worked on together
inline constexpr int64_t kWeights =
    kDecodeRunTokens / 4 * kLanes;  // floats of a vector of rows: [key / 4][row][4]

// [row][key] of the sums of the lanes of kRowsOfVector rows' vectors for four keys each.
HWY_INLINE V sum_rows_of_keys(V (*acc)[4]) {
  const F d;
  const hn::Repartition<double, F> d2;
  V row[kRowsOfVector];
  FOVEA_UNROLL
  for (int64_t b = 0; b < kRowsOfVector; ++b) {
    V(&a)[4] = acc[b];
    const V low = hn::Add(hn::InterleaveLower(d, a[0], a[1]), hn::InterleaveUpper(d, a[0], a[1]));
    const V high = hn::Add(hn::InterleaveLower(d, a[2], a[3]), hn::InterleaveUpper(d, a[2], a[3]));
    const auto x = hn::BitCast(d2, low), y = hn::BitCast(d2, high);
    row[b] =
        hn::Add(hn::BitCast(d, hn::InterleaveLower(d2, x, y)), hn::BitCast(d, hn::InterleaveUpper(d2, x, y)));
  }
#if HWY_TARGET == HWY_AVX3
  const auto both = [](V x, V y) HWY_ATTR {
    return hn::Add(V{_mm512_shuffle_f32x4(x.raw, y.raw, 0x88)}, V{_mm512_shuffle_f32x4(x.raw, y.raw, 0xDD)});
  };
  return both(both(row[0], row[1]), both(row[2], row[3]));
#elif HWY_TARGET == HWY_AVX2
  return hn::Add(hn::ConcatLowerLower(d, row[1], row[0]), hn::ConcatUpperUpper(d, row[1], row[0]));
#else
  static_assert(kRowsOfVector == 1);
  return row[0];
#endif
}

// s[row / kRowsOfVector·kWeights + (j / 4)·kLanes + row % kRowsOfVector·4 + j % 4] = q_row·k_j for `rows`
// rows; what stands elsewhere is of no row or key.
template <int64_t kRows, class T>
HWY_NOINLINE void score_rows(const float* q, int64_t rows, const T* k, int64_t stride, int64_t keys,
                             int64_t width, float* s, TileAhead& ahead) {
  const F d;
  const float* query[kRows];
  for (int64_t b = 0; b < kRows; ++b) query[b] = q + std::min(b, rows - 1) * width;
  for (int64_t j = 0; j < keys; j += 4) {
    ahead.step();
    const T* key[4];
    for (int64_t n = 0; n < 4; ++n) key[n] = k + std::min(j + n, keys - 1) * stride;
    V acc[kRows][4];
    FOVEA_UNROLL
    for (int64_t b = 0; b < kRows; ++b) {
      FOVEA_UNROLL
      for (int n = 0; n < 4; ++n) acc[b][n] = hn::Zero(d);
    }
    for (int64_t c = 0; c < width; c += kLanes) {
      V x[4];
      FOVEA_UNROLL
      for (int n = 0; n < 4; ++n) x[n] = widen(key[n] + c);
      FOVEA_UNROLL
      for (int64_t b = 0; b < kRows; ++b) {
        const V y = hn::LoadU(d, query[b] + c);
        FOVEA_UNROLL
        for (int n = 0; n < 4; ++n) acc[b][n] = hn::MulAdd(x[n], y, acc[b][n]);
      }
    }
    FOVEA_UNROLL
    for (int64_t b = 0; b < kRows; b += kRowsOfVector)
      hn::Store(sum_rows_of_keys(acc + b), d, s + b / kRowsOfVector * kWeights + j / 4 * kLanes);
  }
}

// The greatest, or the sum, of each block of four lanes, in all four of them.
HWY_INLINE V most_of_blocks(V x) {
  x = hn::Max(x, hn::Shuffle2301(x));
  return hn::Max(x, hn::Shuffle1032(x));
}
HWY_INLINE V sum_of_blocks(V x) {
  x = hn::Add(x, hn::Shuffle2301(x));
  return hn::Add(x, hn::Shuffle1032(x));
}

// A number of each of kRowsOfVector rows, in all four of its lanes.
HWY_INLINE V spread_rows(const float* x, int64_t rows) {
  const F d;
  alignas(16) float four[4] = {kFloor, kFloor, kFloor, kFloor};
  if (rows < kRowsOfVector || kRowsOfVector < 4) {
    std::copy_n(x, rows, four);
    x = four;
  }
  const hn::FixedTag<float, 4> d4;
  hn::Store(hn::LoadU(d4, x), d4, four);
  return hn::TableLookupLanes(hn::LoadDup128(d, four),
                              hn::IndicesFromVec(d, hn::ShiftRight<2>(hn::Iota(I(), 0))));
}

// Which keys of a tile a vector of rows sees.
struct RowsSee {
  alignas(64) int32_t first[kLanes], end[kLanes];
  bool partial;  // not all of them, or not in whole blocks of four
};
HWY_INLINE void see_rows(const DecodeTask& t, int64_t r, int64_t rows, const TileKeys& tile, RowsSee& sees) {
  const int64_t keys = tile.keys;
  sees.partial = keys % 4 != 0;
  for (int64_t b = 0; b < rows; ++b)
    sees.partial = sees.partial || t.first[r + b] > tile.begin || t.end[r + b] < tile.begin + keys;
  if (!sees.partial) return;
  for (int64_t b = 0; b < kRowsOfVector; ++b) {
    const int64_t row = r + std::min(b, rows - 1);
    std::fill_n(sees.first + b * 4, 4,
                static_cast<int32_t>(std::clamp<int64_t>(t.first[row] - tile.begin, 0, keys)));
    std::fill_n(sees.end + b * 4, 4,
                static_cast<int32_t>(std::clamp<int64_t>(t.end[row] - tile.begin, 0, keys)));
  }
}

// What the options and the mask make of a vector of rows' scores; keeps them where somebody looks.
HWY_NOINLINE inline void modify_rows(const DecodeTask& t, int64_t r, int64_t rows, const TileKeys& tile,
                                     const RowsSee& sees, float* s) {
  const int64_t keys = tile.keys;
  const F d;
  const I di;
  const VI within = hn::And(hn::Iota(di, 0), hn::Set(di, 3));
  if (t.softcap > 0.0f) softcap_column(s, kLanes, {0, (keys + 3) / 4}, t.softcap, nullptr);
  for (int64_t j = 0; j < keys; j += 4) {
    float* at = s + j / 4 * kLanes;
    const int64_t count = std::min<int64_t>(4, keys - j);
    V x = hn::Load(d, at);
    if (t.distance != nullptr) {
      alignas(64) float bias[kLanes] = {};
      for (int64_t b = 0; b < rows; ++b) {
        for (int64_t i = 0; i < count; ++i) bias[b * 4 + i] = t.distance[r + b][-(tile.begin + j + i)];
      }
      x = hn::MulAdd(hn::Load(d, bias), hn::Set(d, kLog2E), x);
    }
    if (sees.partial) {
      const VI key = hn::Add(within, hn::Set(di, static_cast<int32_t>(j)));
      const auto seen =
          hn::AndNot(hn::Lt(key, hn::Load(di, sees.first)), hn::Lt(key, hn::Load(di, sees.end)));
      x = hn::IfThenElse(hn::RebindMask(d, seen), x, hn::Set(d, kMasked));
    }
    hn::Store(x, d, at);
    if (t.scores != nullptr) {
      for (int64_t b = 0; b < rows; ++b)
        std::copy_n(at + b * 4, count, t.scores + (r + b) * t.scores_stride + tile.begin + j);
    }
  }
}

// s *= scale of the key; the scales of a block's last head end with its last key, so no more are read.
HWY_INLINE void scale_keys(const float* scale, int64_t keys, float* s) {
  const F d;
  int64_t j = 0;
  for (; j + 4 <= keys; j += 4)
    hn::Store(hn::Mul(hn::Load(d, s + j / 4 * kLanes), hn::LoadDup128(d, scale + j)), d, s + j / 4 * kLanes);
  if (j == keys) return;
  alignas(16) float rest[4] = {};
  std::copy_n(scale + j, keys - j, rest);
  hn::Store(hn::Mul(hn::Load(d, s + j / 4 * kLanes), hn::LoadDup128(d, rest)), d, s + j / 4 * kLanes);
}

// s += Σ_e row_extra·key_extra.
HWY_NOINLINE inline void add_extras(const DecodeTask& t, int64_t r, int64_t rows, const TileKeys& tile,
                                    float* s) {
  const int64_t keys = tile.keys;
  const F d;
  for (int64_t e = 0; e < t.extras; ++e) {
    alignas(64) float of_rows[kLanes] = {};
    for (int64_t b = 0; b < rows; ++b) std::fill_n(of_rows + b * 4, 4, t.row_extra[e * t.rows + r + b]);
    const V row = hn::Load(d, of_rows);
    const float* key = t.key_extra + e * t.keys + tile.begin;
    for (int64_t j = 0; j < keys; j += 4) {
      alignas(16) float four[4] = {};
      std::copy_n(key + j, std::min<int64_t>(4, keys - j), four);
      float* at = s + j / 4 * kLanes;
      hn::Store(hn::MulAdd(row, hn::LoadDup128(d, four), hn::Load(d, at)), d, at);
    }
  }
}

// Scores of a vector of rows, from row r on, to weights: scale, softcap, bias, mask, running maximum and sum.
HWY_NOINLINE inline void weigh_rows(const DecodeTask& t, int64_t r, int64_t rows, const TileKeys& tile,
                                    float* s) {
  const int64_t keys = tile.keys;
  const F d;
  if (tile.k_scale != nullptr) scale_keys(tile.k_scale, keys, s);
  if (t.key_factor != nullptr) scale_keys(t.key_factor + tile.begin, keys, s);
  if (t.extras > 0) add_extras(t, r, rows, tile, s);
  RowsSee sees;
  see_rows(t, r, rows, tile, sees);
  if (sees.partial || t.softcap > 0.0f || t.distance != nullptr || t.scores != nullptr)
    modify_rows(t, r, rows, tile, sees, s);
  const int64_t end = (keys + 3) / 4 * kLanes;
  V most = hn::Set(d, kFloor);
  for (int64_t i = 0; i < end; i += kLanes) most = hn::Max(most, hn::Load(d, s + i));
  const V old_max = spread_rows(t.state.max + r, rows), max = hn::Max(most_of_blocks(most), old_max);
  if (!hn::AllTrue(d, hn::Eq(max, old_max))) {
    alignas(64) float highest[kLanes], alpha[kLanes];
    hn::Store(max, d, highest);
    hn::Store(exp2_of(hn::Sub(old_max, max)), d, alpha);
    for (int64_t b = 0; b < rows; ++b) {
      t.state.max[r + b] = highest[b * 4];
      t.state.sum[r + b] *= alpha[b * 4];
      float* out = t.state.out + (r + b) * t.value_width;
      for (int64_t c = 0; c < t.value_width; c += kLanes)
        hn::StoreU(hn::Mul(hn::LoadU(d, out + c), hn::Set(d, alpha[b * 4])), d, out + c);
    }
  }
  V sum0 = hn::Zero(d), sum1 = sum0;
  int64_t i = 0;
  for (; i + 2 * kLanes <= end; i += 2 * kLanes) {
    const V a = exp2_of(hn::Sub(hn::Load(d, s + i), max));
    const V b = exp2_of(hn::Sub(hn::Load(d, s + i + kLanes), max));
    hn::Store(a, d, s + i);
    hn::Store(b, d, s + i + kLanes);
    sum0 = hn::Add(sum0, a);
    sum1 = hn::Add(sum1, b);
  }
  if (i < end) {
    const V a = exp2_of(hn::Sub(hn::Load(d, s + i), max));
    hn::Store(a, d, s + i);
    sum0 = hn::Add(sum0, a);
  }
  alignas(64) float sums[kLanes];
  hn::Store(sum_of_blocks(hn::Add(sum0, sum1)), d, sums);
  for (int64_t b = 0; b < rows; ++b) t.state.sum[r + b] += sums[b * 4];
  if (tile.v_scale != nullptr) scale_keys(tile.v_scale, keys, s);
}

// Columns of out[row] += Σ_j weight_j·v_j for kRows rows; `weights` as above, from row `first` of them on.
template <int kRows, int kColumns, class T>
HWY_NOINLINE void value_rows(const float* weights, int64_t first, const T* v, int64_t stride, int64_t keys,
                             int64_t width, float* out, TileAhead& ahead) {
  const F d;
  const float* p[kRows];
  for (int64_t r = 0; r < kRows; ++r) {
    const int64_t row = first + r;
    p[r] = weights + row / kRowsOfVector * kWeights + row % kRowsOfVector * 4;
  }
  V acc[kRows][kColumns];
  FOVEA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FOVEA_UNROLL
    for (int n = 0; n < kColumns; ++n) acc[r][n] = hn::LoadU(d, out + r * width + n * kLanes);
  }
  for (int64_t j = 0; j < keys; ++j, v += stride) {
    V x[kColumns];
    FOVEA_UNROLL
    for (int n = 0; n < kColumns; ++n) x[n] = widen(v + n * kLanes);
    const int64_t at = j / 4 * kLanes + j % 4;
    FOVEA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V weight = hn::Set(d, p[r][at]);
      FOVEA_UNROLL
      for (int n = 0; n < kColumns; ++n) acc[r][n] = hn::MulAdd(weight, x[n], acc[r][n]);
    }
    if (j % 4 == 3) ahead.step();
  }
  FOVEA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FOVEA_UNROLL
    for (int n = 0; n < kColumns; ++n) hn::StoreU(acc[r][n], d, out + r * width + n * kLanes);
  }
}

// 4 × 4 accumulators, 4 × 2 among 16 registers.
inline constexpr int kValueColumns = FOVEA_ATTENTION_SHORT_TILES ? 2 : 4;

// About how often value_rows takes a step for four keys and all rows.
HWY_INLINE int64_t value_steps(const DecodeTask& t) {
  return (t.rows + 3) / 4 * ((t.value_width + kValueColumns * kLanes - 1) / (kValueColumns * kLanes));
}

template <int kRows, class T>
HWY_INLINE void value_row_group(const float* weights, int64_t first, const T* v, int64_t stride, int64_t keys,
                                int64_t width, float* out, TileAhead& ahead) {
  int64_t c = 0;
  for (; c + kValueColumns * kLanes <= width; c += kValueColumns * kLanes)
    value_rows<kRows, kValueColumns>(weights, first, v + c, stride, keys, width, out + c, ahead);
  for (; c < width; c += kLanes)
    value_rows<kRows, 1>(weights, first, v + c, stride, keys, width, out + c, ahead);
}

template <class T>
HWY_INLINE void values_of_rows(const DecodeTask& t, const float* weights, int64_t r, int64_t rows,
                               const DecodeTile<T>& tile, TileAhead& ahead) {
  int64_t i = 0;
  float* out = t.state.out + r * t.value_width;
  const int64_t width = t.value_width;
  for (; i + 4 <= rows; i += 4)
    value_row_group<4>(weights, i, tile.v, tile.v_stride, tile.keys, width, out + i * width, ahead);
  if (rows - i == 3)
    value_row_group<3>(weights, i, tile.v, tile.v_stride, tile.keys, width, out + i * width, ahead);
  if (rows - i == 2)
    value_row_group<2>(weights, i, tile.v, tile.v_stride, tile.keys, width, out + i * width, ahead);
  if (rows - i == 1)
    value_row_group<1>(weights, i, tile.v, tile.v_stride, tile.keys, width, out + i * width, ahead);
}

inline constexpr int64_t kRowsTogether = kMostVectors * kRowsOfVector;
inline constexpr int64_t kRowsWorkspace = kMostVectors * kWeights;

// A task's tiles and rows, as many together as there is room for: score(count, tile, row, rows, to, ahead)
// writes the scores of up to `count` (a constant) rows to `to`, values(tile, row, rows, ahead) adds what
// these weigh.
template <class T, class ScoreRows, class AddValues>
HWY_INLINE void walk_rows(const DecodeTask& t, float* s, const ScoreRows& score, const AddValues& values) {
  for (int64_t begin = 0; begin < t.keys;) {
    const DecodeTile<T> tile = decode_tile<T>(t, begin);
    TileAhead ahead(t, tile, tile.bytes);
    const int64_t vectors = (t.rows + kRowsOfVector - 1) / kRowsOfVector;
    ahead.spread(tile.keys / 4 * (vectors + value_steps(t)));
    for (int64_t r = 0; r < t.rows; r += kRowsTogether) {
      const int64_t rows = std::min(kRowsTogether, t.rows - r);
      int64_t i = 0;
      for (; i + kScoreRows <= rows; i += kScoreRows)
        score(std::integral_constant<int64_t, kScoreRows>(), tile, r + i, kScoreRows,
              s + i / kRowsOfVector * kWeights, ahead);
      for (; i < rows; i += kRowsOfVector)
        score(std::integral_constant<int64_t, kRowsOfVector>(), tile, r + i,
              std::min(kRowsOfVector, rows - i), s + i / kRowsOfVector * kWeights, ahead);
      for (i = 0; i < rows; i += kRowsOfVector)
        weigh_rows(t, r + i, std::min(kRowsOfVector, rows - i), tile, s + i / kRowsOfVector * kWeights);
      values(tile, r, rows, ahead);
    }
    ahead.finish();
    begin += tile.keys;
  }
}

template <class T>
void run_rows(const DecodeTask& t, float* s) {
  const auto score = [&](auto count, const DecodeTile<T>& tile, int64_t row, int64_t rows, float* to,
                         TileAhead& ahead) HWY_ATTR {
    score_rows<decltype(count)::value>(t.q + row * t.width, rows, tile.k, tile.k_stride, tile.keys, t.width,
                                       to, ahead);
  };
  const auto values = [&](const DecodeTile<T>& tile, int64_t r, int64_t rows, TileAhead& ahead) HWY_ATTR {
    if (!needs_seen_values(t, r, rows, tile)) return values_of_rows(t, s, r, rows, tile, ahead);
    for (int64_t i = 0; i < rows; ++i) {
      const float* weights = s + i / kRowsOfVector * kWeights + i % kRowsOfVector * 4;
      add_seen_values(t, r + i, tile, [weights](int64_t j) { return weights[j / 4 * kLanes + j % 4]; });
    }
  };
  walk_rows<T>(t, s, score, values);
}
#endif

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
