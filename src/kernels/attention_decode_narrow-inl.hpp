// Several rows on bf16 or int8 caches where products of 16 bits will do: a word holds two neighbouring
// numbers (attention_pairs-inl.hpp says how), so that a step multiplies twice as many as float32 does, and
// keys are not widened. bf16: queries and weights rounded to bf16, sums in float32. int8: queries and weights
// rounded to 16 bits of their row's largest (a weight's of the tile), sums in int32, exact.
#if defined(FOVEA_ATTENTION_DECODE_NARROW_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_DECODE_NARROW_INL
#undef FOVEA_ATTENTION_DECODE_NARROW_INL
#else
#define FOVEA_ATTENTION_DECODE_NARROW_INL
#endif

#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/attention_decode_rows-inl.hpp"
#include "kernels/attention_pairs-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// Where the product of two vectors of 16-bit numbers adds up neighbours.
#undef FOVEA_ATTENTION_NARROW
#define FOVEA_ATTENTION_NARROW (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3)

#if FOVEA_ATTENTION_NARROW
inline constexpr float kMostInt16 = 32767.0f;

// Number c of a row of words.
template <class T>
HWY_INLINE void place_number(T x, int64_t c, float* words) {
  static_assert(sizeof(T) == 2);
  std::memcpy(reinterpret_cast<char*>(words) + 2 * c, &x, sizeof x);
}

// Words of bf16 numbers.
template <class Step>
struct NarrowBF16 {
  using Number = BFloat16;
  using Sum = V;
  static HWY_INLINE V key(const BFloat16* k) { return hn::LoadU(F(), reinterpret_cast<const float*>(k)); }
  // Of each column, the numbers of two rows.
  static HWY_INLINE V values(const BFloat16* a, const BFloat16* b) {
    const U32 du;
    const U16 d16;
    const auto low = hn::PromoteTo(du, hn::LoadU(d16, &a->bits)),
               high = hn::PromoteTo(du, hn::LoadU(d16, &b->bits));
    return hn::BitCast(F(), hn::Or(low, hn::ShiftLeft<16>(high)));
  }
  static bool is_finite(BFloat16 x) { return (x.bits & 0x7F80) != 0x7F80; }
  static HWY_INLINE Sum zero() { return hn::Zero(F()); }
  static HWY_INLINE Sum step(V a, V b, Sum sum) { return Step::step(a, b, sum); }
  static HWY_INLINE V number(Sum sum) { return sum; }
  // A row's words, and what its scores are to be multiplied with.
  static float round_row(const float* x, int64_t width, float* words) {
    for (int64_t c = 0; c < width; ++c) place_number(BFloat16(x[c]).bits, c, words);
    return 1.0f;
  }
  // Weights to numbers side by side; they need no factor.
  static HWY_INLINE V factor(V, V) { return hn::Set(F(), 1.0f); }
  static HWY_INLINE V inverse(V, V) { return hn::Set(F(), 1.0f); }
  static HWY_INLINE void store_weights(V x, float* to) { round_and_store(x, to); }
};

// Words of 16-bit integers.
struct AddPairs {
  static HWY_INLINE VI step(V a, V b, VI sum) {
    const hn::Repartition<int16_t, F> d16;
    VI unused = hn::Zero(I());
    return hn::ReorderWidenMulAccumulate(I(), hn::BitCast(d16, a), hn::BitCast(d16, b), sum, unused);
  }
};
#if HWY_TARGET == HWY_AVX3
// AVX-512-VNNI: product and sum in one.
struct InstructionAddPairs {
  static HWY_INLINE VI step(V a, V b, VI sum) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(a.raw), "v"(b.raw));
    return sum;
  }
};
#endif
template <class Step>
struct NarrowInt8 {
  using Number = int8_t;
  using Sum = VI;
  static HWY_INLINE V key(const int8_t* k) {
    const hn::Repartition<int16_t, F> d16;
    const hn::Rebind<int8_t, decltype(d16)> d8;
    return hn::BitCast(F(), hn::PromoteTo(d16, hn::LoadU(d8, k)));
  }
  static HWY_INLINE V values(const int8_t* a, const int8_t* b) {
    const I di;
    const hn::Rebind<int8_t, F> d8;
    const VI low = hn::And(hn::PromoteTo(di, hn::LoadU(d8, a)), hn::Set(di, 0xFFFF));
    return hn::BitCast(F(), hn::Or(low, hn::ShiftLeft<16>(hn::PromoteTo(di, hn::LoadU(d8, b)))));
  }
  static bool is_finite(int8_t) { return true; }  // what is not is its row's scale
  static HWY_INLINE Sum zero() { return hn::Zero(I()); }
  static HWY_INLINE Sum step(V a, V b, Sum sum) { return Step::step(a, b, sum); }
  static HWY_INLINE V number(Sum sum) { return hn::ConvertTo(F(), sum); }
  static float round_row(const float* x, int64_t width, float* words) {
    float most = 0, poison = 0;
    for (int64_t c = 0; c < width; ++c) most = std::max(most, std::abs(x[c]));
    for (int64_t c = 0; c < width; ++c) poison += 0.0f * x[c];
    if (poison != 0.0f) {  // not finite: all scores are NaN
      std::fill_n(words, width / 2, 0.0f);
      return poison;
    }
    const float inverse = most > 0 ? kMostInt16 / most : 0.0f;
    for (int64_t c = 0; c < width; ++c) {
      const float rounded = std::nearbyint(std::clamp(x[c] * inverse, -kMostInt16, kMostInt16));
      place_number(static_cast<int16_t>(rounded), c, words);
    }
    return most / kMostInt16;
  }
  static HWY_INLINE V factor(V most, V) {
    const F d;
    const V tiny = hn::Set(d, 1e-30f);  // whose inverse is finite
    return hn::Div(hn::Set(d, kMostInt16), hn::Max(most, tiny));
  }
  // NaN where a weight is.
  static HWY_INLINE V inverse(V most, V total) {
    const F d;
    const V tiny = hn::Set(d, 1e-30f);
    return hn::MulAdd(hn::Max(most, tiny), hn::Set(d, 1.0f / kMostInt16), hn::Mul(total, hn::Zero(d)));
  }
  static HWY_INLINE void store_weights(V x, float* to) {
    const hn::Rebind<int16_t, F> d16;
    int16_t numbers[kLanes];
    hn::StoreU(hn::DemoteTo(d16, hn::NearestInt(x)), d16, numbers);
    std::memcpy(to, numbers, sizeof numbers);
  }
};

// kRowsOfVector numbers, each in all four lanes of its row.
HWY_INLINE V spread_scales(const float* x) {
  const F d;
  alignas(64) float lanes[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) lanes[i] = x[i / 4];
  return hn::Load(d, lanes);
}

// As score_rows, of words; row_scale as long as whole vectors of rows.
template <class P, int64_t kRows>
HWY_NOINLINE void score_words(const float* q, const float* row_scale, int64_t rows,
                              const typename P::Number* k, int64_t stride, int64_t keys, int64_t width,
                              float* s, TileAhead& ahead) {
  const F d;
  const int64_t words = width / 2;
  const float* query[kRows];
  for (int64_t b = 0; b < kRows; ++b) query[b] = q + std::min(b, rows - 1) * words;
  V scale[kRows / kRowsOfVector];
  for (int64_t b = 0; b < kRows / kRowsOfVector; ++b) scale[b] = spread_scales(row_scale + b * kRowsOfVector);
  for (int64_t j = 0; j < keys; j += 4) {
    ahead.step();
    const typename P::Number* key[4];
    for (int64_t n = 0; n < 4; ++n) key[n] = k + std::min(j + n, keys - 1) * stride;
    typename P::Sum acc[kRows][4];
    FOVEA_UNROLL
    for (int64_t b = 0; b < kRows; ++b) {
      FOVEA_UNROLL
      for (int n = 0; n < 4; ++n) acc[b][n] = P::zero();
    }
    for (int64_t c = 0; c < words; c += kLanes) {
      V x[4];
      FOVEA_UNROLL
      for (int n = 0; n < 4; ++n) x[n] = P::key(key[n] + 2 * c);
      FOVEA_UNROLL
      for (int64_t b = 0; b < kRows; ++b) {
        const V y = hn::LoadU(d, query[b] + c);
        FOVEA_UNROLL
        for (int n = 0; n < 4; ++n) acc[b][n] = P::step(x[n], y, acc[b][n]);
      }
    }
    V sums[kRows][4];
    FOVEA_UNROLL
    for (int64_t b = 0; b < kRows; ++b) {
      FOVEA_UNROLL
      for (int n = 0; n < 4; ++n) sums[b][n] = P::number(acc[b][n]);
    }
    FOVEA_UNROLL
    for (int64_t b = 0; b < kRows; b += kRowsOfVector) {
      hn::Store(hn::Mul(sum_rows_of_keys(sums + b), scale[b / kRowsOfVector]), d,
                s + b / kRowsOfVector * kWeights + j / 4 * kLanes);
    }
  }
}

// Weights of a vector of rows, as weigh_rows left them, to numbers [key / 4][row][4] of 16 bits, and what
// sums of these are to be multiplied with, [row].
template <class P>
HWY_NOINLINE void round_weights(const float* s, int64_t keys, float* words, float* inverse) {
  const F d;
  const int64_t end = (keys + 3) / 4 * kLanes;
  V most = hn::Zero(d), total = hn::Zero(d);
  for (int64_t i = 0; i < end; i += kLanes) {
    const V x = hn::Load(d, s + i);
    most = hn::Max(most, x);
    total = hn::Add(total, x);
  }
  most = most_of_blocks(most);
  const V factor = P::factor(most, total);
  for (int64_t i = 0; i < end; i += kLanes)
    P::store_weights(hn::Mul(hn::Load(d, s + i), factor), words + i / 2);
  alignas(64) float lanes[kLanes];
  hn::Store(P::inverse(most, sum_of_blocks(total)), d, lanes);
  for (int64_t b = 0; b < kRowsOfVector; ++b) inverse[b] = lanes[b * 4];
}

// Of a tile's words of weights, those of the vector of rows v begin at v·kWords, its factors at v·kLanes.
inline constexpr int64_t kWords = kWeights / 2;

// Columns of out[row] += Σ_j weight_j·v_j, two keys at a time, for kRows rows from row `first` of the tile
// on.
template <class P, int kRows, int kColumns>
HWY_NOINLINE void value_words(const float* words, const float* inverse, int64_t first,
                              const typename P::Number* v, int64_t stride, int64_t keys, int64_t width,
                              float* out, TileAhead& ahead) {
  const F d;
  words += first / kRowsOfVector * kWords;
  typename P::Sum acc[kRows][kColumns];
  FOVEA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FOVEA_UNROLL
    for (int n = 0; n < kColumns; ++n) acc[r][n] = P::zero();
  }
  const auto pair = [&](int64_t j) HWY_ATTR {
    const typename P::Number* a = v + std::min(j, keys - 1) * stride;  // of weight 0 beyond the last key
    const typename P::Number* b = v + std::min(j + 1, keys - 1) * stride;
    const float* weights = words + j / 4 * (kLanes / 2) + j % 4 / 2;
    V x[kColumns];
    FOVEA_UNROLL
    for (int n = 0; n < kColumns; ++n) x[n] = P::values(a + n * kLanes, b + n * kLanes);
    FOVEA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V weight = hn::Set(d, weights[r / kRowsOfVector * kWords + r % kRowsOfVector * 2]);
      FOVEA_UNROLL
      for (int n = 0; n < kColumns; ++n) acc[r][n] = P::step(x[n], weight, acc[r][n]);
    }
  };
  for (int64_t j = 0; j < keys; j += 4) {
    ahead.step();
    pair(j);
    pair(j + 2);
  }
  FOVEA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = first + r;
    const V scale = hn::Set(d, inverse[row]);
    FOVEA_UNROLL
    for (int n = 0; n < kColumns; ++n) {
      float* to = out + r * width + n * kLanes;
      hn::StoreU(hn::MulAdd(P::number(acc[r][n]), scale, hn::LoadU(d, to)), d, to);
    }
  }
}

template <class P, int kRows, int kColumns>
HWY_INLINE void value_word_group(const float* words, const float* inverse, int64_t first,
                                 const typename P::Number* v, int64_t stride, int64_t keys, int64_t width,
                                 float* out, TileAhead& ahead) {
  int64_t c = 0;
  for (; c + kColumns * kLanes <= width; c += kColumns * kLanes)
    value_words<P, kRows, kColumns>(words, inverse, first, v + c, stride, keys, width, out + c, ahead);
  for (; c < width; c += kLanes)
    value_words<P, kRows, 1>(words, inverse, first, v + c, stride, keys, width, out + c, ahead);
}

// Rows whose values are added together: eight share the making of a word of values where registers allow.
inline constexpr int kWordRows = FOVEA_ATTENTION_SHORT_TILES ? 4 : 8;

template <class P>
HWY_INLINE void values_of_words(const DecodeTask& t, const float* words, const float* inverse, int64_t r,
                                int64_t rows, const DecodeTile<typename P::Number>& tile, TileAhead& ahead) {
  const int64_t width = t.value_width;
  float* out = t.state.out + r * width;
  const auto group = [&](auto count, auto columns, int64_t i) {
    value_word_group<P, decltype(count)::value, decltype(columns)::value>(
        words, inverse, i, tile.v, tile.v_stride, tile.keys, width, out + i * width, ahead);
  };
  int64_t i = 0;
  for (; i + kWordRows <= rows; i += kWordRows)
    group(std::integral_constant<int, kWordRows>(), std::integral_constant<int, 2>(), i);
  for (; i + 4 <= rows; i += 4)
    group(std::integral_constant<int, 4>(), std::integral_constant<int, kValueColumns>(), i);
  const std::integral_constant<int, kValueColumns> columns;
  if (rows - i == 3) group(std::integral_constant<int, 3>(), columns, i);
  if (rows - i == 2) group(std::integral_constant<int, 2>(), columns, i);
  if (rows - i == 1) group(std::integral_constant<int, 1>(), columns, i);
}

// Rounds the weights of a tile, as weigh_rows left them, and adds its values.
template <class P>
HWY_INLINE void values_of_weights(const DecodeTask& t, const float* s, float* words, float* inverse,
                                  int64_t r, int64_t rows, const DecodeTile<typename P::Number>& tile,
                                  TileAhead& ahead) {
  for (int64_t i = 0; i < rows; i += kRowsOfVector) {
    const int64_t vector = i / kRowsOfVector;
    round_weights<P>(s + vector * kWeights, tile.keys, words + vector * kWords, inverse + i);
  }
  values_of_words<P>(t, words, inverse, r, rows, tile, ahead);
}

// The values of a tile of which a row sees only a part, and which are not all finite. Rows that do not see
// these get the bits that they would get if all were.
template <class P>
HWY_NOINLINE void values_of_spoilt_words(const DecodeTask& t, float* s, float* words, float* inverse,
                                         int64_t r, int64_t rows, const DecodeTile<typename P::Number>& tile,
                                         typename P::Number* finite, TileAhead& ahead) {
  const int64_t width = t.value_width;
  const auto weight = [s](int64_t row, int64_t j) -> float& {
    return s[row / kRowsOfVector * kWeights + j / 4 * kLanes + row % kRowsOfVector * 4 + j % 4];
  };
  const auto sees = [&](int64_t row, int64_t j) {
    return tile.begin + j >= t.first[r + row] && tile.begin + j < t.end[r + row];
  };
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < tile.keys; ++j) {
      if (!sees(row, j)) weight(row, j) = 0.0f;  // 0 times a scale that is NaN
    }
  }
  DecodeTile<typename P::Number> clean = tile;
  clean.v = finite;
  clean.v_stride = width;
  const auto value = [&](int64_t i) { return tile.v[i / width * tile.v_stride + i % width]; };
  for (int64_t i = 0; i < tile.keys * width; ++i)
    finite[i] = P::is_finite(value(i)) ? value(i) : typename P::Number{};
  values_of_weights<P>(t, s, words, inverse, r, rows, clean, ahead);
  for (int64_t i = 0; i < tile.keys * width; ++i) {
    if (P::is_finite(value(i))) continue;
    for (int64_t row = 0; row < rows; ++row) {
      if (sees(row, i / width))
        t.state.out[(r + row) * width + i % width] += weight(row, i / width) * static_cast<float>(value(i));
    }
  }
}

inline constexpr int64_t kNarrowWorkspace = kRowsWorkspace + kMostVectors * (kWords + kLanes);
HWY_INLINE int64_t narrow_workspace(int64_t value_width) {
  return kNarrowWorkspace + kDecodeRunTokens * value_width / 2;  // numbers of 16 bits at most
}

template <class P>
void run_words(const DecodeTask& t, float* s) {
  using T = typename P::Number;
  float *words = s + kRowsWorkspace, *inverse = words + kMostVectors * kWords;
  T* finite = reinterpret_cast<T*>(s + kNarrowWorkspace);
  const auto score = [&](auto count, const DecodeTile<T>& tile, int64_t row, int64_t rows, float* to,
                         TileAhead& ahead) HWY_ATTR {
    score_words<P, decltype(count)::value>(t.words + row * t.width / 2, t.row_scale + row, rows, tile.k,
                                           tile.k_stride, tile.keys, t.width, to, ahead);
  };
  const auto values = [&](const DecodeTile<T>& tile, int64_t r, int64_t rows, TileAhead& ahead) HWY_ATTR {
    if (needs_seen_values(t, r, rows, tile)) {
      values_of_spoilt_words<P>(t, s, words, inverse, r, rows, tile, finite, ahead);
    } else {
      values_of_weights<P>(t, s, words, inverse, r, rows, tile, ahead);
    }
  };
  walk_rows<T>(t, s, score, values);
}
#endif

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
