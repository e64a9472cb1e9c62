#include "kernels/attention_decode.hpp"

#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_decode.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_decode_narrow-inl.hpp"
#include "kernels/attention_decode_rows-inl.hpp"
#include "kernels/attention_decode_seen-inl.hpp"
#include "kernels/attention_decode_tiles-inl.hpp"
#include "kernels/attention_decode_widen-inl.hpp"
#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kMostKeys = kDecodeRunTokens;
constexpr int64_t kKeys = kLanes >= 4 ? 4 : 1;  // whose sums are taken across lanes together

// Sums of the lanes of kKeys vectors, key by key within each block of 128 bits, the blocks still apart.
HWY_INLINE V sum_within_blocks(V* acc) {
#if HWY_TARGET != HWY_SCALAR
  transpose_blocks(acc[0], acc[1], acc[2], acc[3]);
  return hn::Add(hn::Add(acc[0], acc[1]), hn::Add(acc[2], acc[3]));
#else
  return acc[0];
#endif
}

// Vectors of the above, for kLanes keys, to one vector.
HWY_INLINE V sum_blocks(const float* sums) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Load(F(), sums);
#else
  const float* row[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) row[i] = sums + i / 4 * kLanes;
  V total = load_blocks(row, 0, 0);
  for (int64_t c = 4; c < kLanes; c += 4) total = hn::Add(total, load_blocks(row, 0, c));
  return total;
#endif
}

// scores[r·kMostKeys + j] = q_r·k_j for kRows rows and up to kMostKeys keys, four at a
// time; in place of keys that do not exist stands the last one.
template <int kRows, class T>
HWY_NOINLINE void score_tile(const float* q, const T* k, int64_t stride, int64_t keys, int64_t width,
                             float* scores, TileAhead& ahead) {
  const F d;
  constexpr int64_t kGroups = kLanes / kKeys;
  alignas(64) float sums[kRows * kGroups * kLanes];
  for (int64_t group = 0; group < keys; group += kLanes) {
    for (int64_t i = 0; i < kGroups; ++i) {
      const T* row[kKeys];
      const int64_t first = group + i * kKeys;
      for (int64_t n = 0; n < kKeys; ++n) row[n] = k + std::min(first + n, keys - 1) * stride;
      V acc[kRows][kKeys];
      FOVEA_UNROLL
      for (int r = 0; r < kRows; ++r) {
        FOVEA_UNROLL
        for (int n = 0; n < kKeys; ++n) acc[r][n] = hn::Zero(d);
      }
      ahead.step();
      for (int64_t c = 0; c < width; c += kLanes) {
        V x[kKeys];
        FOVEA_UNROLL
        for (int n = 0; n < kKeys; ++n) x[n] = widen(row[n] + c);
        FOVEA_UNROLL
        for (int r = 0; r < kRows; ++r) {
          const V query = hn::LoadU(d, q + r * width + c);
          FOVEA_UNROLL
          for (int n = 0; n < kKeys; ++n) acc[r][n] = hn::MulAdd(x[n], query, acc[r][n]);
        }
      }
      FOVEA_UNROLL
      for (int r = 0; r < kRows; ++r)
        hn::Store(sum_within_blocks(acc[r]), d, sums + (r * kGroups + i) * kLanes);
    }
    FOVEA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      hn::Store(sum_blocks(sums + r * kGroups * kLanes), d, scores + r * kMostKeys + group);
    }
  }
}

// out[r][c] += Σ_j p[r·kMostKeys + j]·v_j[c] for kRows rows.
template <int kRows, int kVectors, class T>
HWY_NOINLINE void value_columns(const float* p, const T* v, int64_t stride, int64_t keys, int64_t width,
                                float* out, TileAhead& ahead) {
  const F d;
  V acc[kRows][kVectors];
  FOVEA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FOVEA_UNROLL
    for (int n = 0; n < kVectors; ++n) acc[r][n] = hn::LoadU(d, out + r * width + n * kLanes);
  }
  for (int64_t j = 0; j < keys; ++j) {
    V x[kVectors];
    FOVEA_UNROLL
    for (int n = 0; n < kVectors; ++n) x[n] = widen(v + j * stride + n * kLanes);
    if (j % kKeys == kKeys - 1) ahead.step();
    FOVEA_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V weight = hn::Set(d, p[r * kMostKeys + j]);
      FOVEA_UNROLL
      for (int n = 0; n < kVectors; ++n) acc[r][n] = hn::MulAdd(weight, x[n], acc[r][n]);
    }
  }
  FOVEA_UNROLL
  for (int r = 0; r < kRows; ++r) {
    FOVEA_UNROLL
    for (int n = 0; n < kVectors; ++n) hn::StoreU(acc[r][n], d, out + r * width + n * kLanes);
  }
}

// Eight vectors of accumulators a row where registers allow, so that rows of 128 numbers are read from end to
// end.
template <int kRows, class T>
HWY_INLINE void value_tile(const float* p, const T* v, int64_t stride, int64_t keys, int64_t width,
                           float* out, TileAhead& ahead) {
  int64_t c = 0;
  if constexpr (kLanes == 16) {
    for (; c + 8 * kLanes <= width; c += 8 * kLanes) {
      value_columns<kRows, 8>(p, v + c, stride, keys, width, out + c, ahead);
    }
  }
  for (; c + 4 * kLanes <= width; c += 4 * kLanes) {
    value_columns<kRows, 4>(p, v + c, stride, keys, width, out + c, ahead);
  }
  for (; c < width; c += kLanes) value_columns<kRows, 1>(p, v + c, stride, keys, width, out + c, ahead);
}

// How often value_tile walks over the keys.
HWY_INLINE int64_t value_passes(int64_t width) {
  const int64_t vectors = width / kLanes, eights = kLanes == 16 ? vectors / 8 : 0;
  return eights + (vectors - eights * 8) / 4 + vectors % 4;
}

// Scores of one row and tile to weights: scale, softcap, bias, mask, running maximum and sum.
HWY_NOINLINE void weigh_row(const DecodeTask& t, int64_t r, const TileKeys& tile, float* s) {
  const int64_t keys = tile.keys;
  const F d;
  const I di;
  const VI first = hn::Set(di, static_cast<int32_t>(std::clamp<int64_t>(t.first[r] - tile.begin, 0, keys)));
  const VI end = hn::Set(di, static_cast<int32_t>(std::clamp<int64_t>(t.end[r] - tile.begin, 0, keys)));
  const V masked = hn::Set(d, kMasked);
  V most = hn::Set(d, kFloor);
  for (int64_t j = 0; j < keys; j += kLanes) {
    V x = hn::Load(d, s + j);
    const VI key = hn::Iota(di, static_cast<int32_t>(j));
    const auto seen = hn::RebindMask(d, hn::AndNot(hn::Lt(key, first), hn::Lt(key, end)));
    // Reading past the last key stays within a vector's rest of the arrays of a block's last head, so it is
    // not done.
    alignas(64) float rest[2 * kLanes] = {};
    const int64_t count = std::min(kLanes, keys - j);
    const auto load = [&](const float* from) HWY_ATTR {
      if (count == kLanes) return hn::LoadU(d, from);
      for (int64_t i = 0; i < count; ++i) rest[i] = from[i];
      return hn::Load(d, rest);
    };
    if (tile.k_scale != nullptr) x = hn::Mul(x, load(tile.k_scale + j));
    if (t.key_factor != nullptr) x = hn::Mul(x, load(t.key_factor + tile.begin + j));
    for (int64_t e = 0; e < t.extras; ++e)
      x = hn::MulAdd(hn::Set(d, t.row_extra[e * t.rows + r]), load(t.key_extra + e * t.keys + tile.begin + j),
                     x);
    hn::Store(x, d, s + j);
    if (t.softcap > 0.0f) {
      softcap_column(s + j, kLanes, {0, 1}, t.softcap, nullptr);
      x = hn::Load(d, s + j);
    }
    if (t.distance != nullptr) {
      for (int64_t i = 0; i < count; ++i) rest[i] = t.distance[r][-(tile.begin + j + i)];
      x = hn::MulAdd(hn::Load(d, rest), hn::Set(d, kLog2E), x);
    }
    x = hn::IfThenElse(seen, x, masked);
    hn::Store(x, d, s + j);
    most = hn::Max(most, x);
    if (t.scores != nullptr) {
      alignas(64) float lanes[kLanes];
      hn::Store(x, d, lanes);
      std::copy_n(lanes, count, t.scores + r * t.scores_stride + tile.begin + j);
    }
  }
  const float highest = hn::GetLane(hn::MaxOfLanes(d, most));
  if (highest > t.state.max[r]) {
    const float alpha = hn::GetLane(exp2_of(hn::Set(d, t.state.max[r] - highest)));
    t.state.max[r] = highest;
    t.state.sum[r] *= alpha;
    float* out = t.state.out + r * t.value_width;
    for (int64_t c = 0; c < t.value_width; c += kLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(d, out + c), hn::Set(d, alpha)), d, out + c);
    }
  }
  const V max = hn::Set(d, t.state.max[r]);
  V sum = hn::Zero(d);
  for (int64_t j = 0; j < keys; j += kLanes) {
    V weight = exp2_of(hn::Sub(hn::Load(d, s + j), max));
    sum = hn::Add(sum, weight);
    hn::Store(weight, d, s + j);
  }
  if (tile.v_scale != nullptr) {
    for (int64_t j = 0; j < keys; ++j) s[j] *= tile.v_scale[j];
  }
  t.state.sum[r] += hn::GetLane(hn::SumOfLanes(d, sum));
}

template <int kRows, class T>
HWY_INLINE void rows_of_tile(const DecodeTask& t, int64_t r, const DecodeTile<T>& tile, float* s,
                             TileAhead& ahead) {
  score_tile<kRows>(t.q + r * t.width, tile.k, tile.k_stride, tile.keys, t.width, s, ahead);
  for (int64_t i = 0; i < kRows; ++i) weigh_row(t, r + i, tile, s + i * kMostKeys);
  if (needs_seen_values(t, r, kRows, tile)) {
    for (int64_t i = 0; i < kRows; ++i) {
      const float* weights = s + i * kMostKeys;
      add_seen_values(t, r + i, tile, [weights](int64_t j) { return weights[j]; });
    }
    return;
  }
  value_tile<kRows>(s, tile.v, tile.v_stride, tile.keys, t.value_width, t.state.out + r * t.value_width,
                    ahead);
}

// How far behind the tile of one row or two is fetched ahead: where widening takes as long as reading, the
// next tile whole, otherwise no more than the first-level cache holds beside this one.
template <class T>
HWY_INLINE int64_t one_row_ahead(const TileKeys& tile) {
  return sizeof(T) == 1 ? tile.bytes : 8192;
}

// As many rows as this cost less together, a vector of them being full enough.
constexpr int64_t kTogether = 3;

template <class T>
void run_type(const DecodeTask& t, float* workspace) {
#if HWY_TARGET != HWY_SCALAR
  if (t.rows >= kTogether) return run_rows<T>(t, workspace);
#endif
  for (int64_t begin = 0; begin < t.keys;) {
    const DecodeTile<T> tile = decode_tile<T>(t, begin);
    TileAhead ahead(t, tile, one_row_ahead<T>(tile));
    ahead.spread((t.rows + 1) / 2 * (tile.keys / kKeys) * (1 + value_passes(t.value_width)));
    int64_t r = 0;
    for (; r + 2 <= t.rows; r += 2) rows_of_tile<2>(t, r, tile, workspace, ahead);
    if (r < t.rows) rows_of_tile<1>(t, r, tile, workspace, ahead);
    ahead.finish();
    begin += tile.keys;
  }
}

template <class T>
void squares_of(const DecodeTask& t, float* squared) {
  const F d;
  for (int64_t begin = 0; begin < t.keys;) {
    const DecodeTile<T> tile = decode_tile<T>(t, begin);
    for (int64_t j = 0; j < tile.keys; ++j) {
      V sum = hn::Zero(d);
      for (int64_t c = 0; c < t.width; c += kLanes) {
        const V x = widen(tile.k + j * tile.k_stride + c);
        sum = hn::MulAdd(x, x, sum);
      }
      const float scale = tile.k_scale == nullptr ? 1.0f : tile.k_scale[j];
      squared[begin + j] = hn::GetLane(hn::SumOfLanes(d, sum)) * scale * scale;
    }
    begin += tile.keys;
  }
}

}  // namespace

int64_t decode_workspace([[maybe_unused]] int64_t value_width) {
#if HWY_TARGET != HWY_SCALAR
#if FOVEA_ATTENTION_NARROW
  return std::max(2 * kMostKeys, narrow_workspace(value_width));
#else
  return std::max(2 * kMostKeys, kRowsWorkspace);
#endif
#else
  return 2 * kMostKeys;
#endif
}

#if FOVEA_ATTENTION_NARROW
bool decode_narrows(DecodeType type, int64_t rows, int64_t width) {
  return (type == DecodeType::kBF16 || type == DecodeType::kInt8) && rows >= kTogether &&
         width % (2 * kLanes) == 0;
}

void decode_narrow_rows(DecodeType type, const float* rows, int64_t count, int64_t width, float scale,
                        float* words, float* row_scale) {
  for (int64_t r = 0; r < count; ++r) {
    const float* x = rows + r * width;
    float* to = words + r * width / 2;
    row_scale[r] = scale * (type == DecodeType::kBF16 ? NarrowBF16<SoftwarePairs>::round_row(x, width, to)
                                                      : NarrowInt8<AddPairs>::round_row(x, width, to));
  }
  std::fill_n(row_scale + count, 3, 0.0f);
}

namespace {

void run_narrow(const DecodeTask& t, float* workspace) {
#if HWY_TARGET == HWY_AVX3
  if (t.narrow == DecodeNarrow::kInstructions) {
    return t.type == DecodeType::kBF16 ? run_words<NarrowBF16<InstructionPairs>>(t, workspace)
                                       : run_words<NarrowInt8<InstructionAddPairs>>(t, workspace);
  }
#endif
  return t.type == DecodeType::kBF16 ? run_words<NarrowBF16<SoftwarePairs>>(t, workspace)
                                     : run_words<NarrowInt8<AddPairs>>(t, workspace);
}

}  // namespace
#else
bool decode_narrows(DecodeType, int64_t, int64_t) {
  return false;
}
void decode_narrow_rows(DecodeType, const float*, int64_t, int64_t, float, float*, float*) {}
#endif

void decode_run(const DecodeTask& t, float* workspace) {
#if FOVEA_ATTENTION_NARROW
  if (t.narrow != DecodeNarrow::kNo) return run_narrow(t, workspace);
#endif
  switch (t.type) {
    case DecodeType::kF32:
      return run_type<float>(t, workspace);
    case DecodeType::kBF16:
      return run_type<BFloat16>(t, workspace);
    case DecodeType::kF16:
      return run_type<Float16>(t, workspace);
    case DecodeType::kInt8:
      return run_type<int8_t>(t, workspace);
  }
}

void decode_squares(const DecodeTask& t, float* squared) {
  switch (t.type) {
    case DecodeType::kF32:
      return squares_of<float>(t, squared);
    case DecodeType::kBF16:
      return squares_of<BFloat16>(t, squared);
    case DecodeType::kF16:
      return squares_of<Float16>(t, squared);
    case DecodeType::kInt8:
      return squares_of<int8_t>(t, squared);
  }
}

float decode_weigh(const DecodeWeights& w) {
  const F d;
  const V max = hn::Set(d, w.softmax.max), log_sum = hn::Set(d, w.softmax.log_sum),
          least = hn::Set(d, -200.0f);
  V entropy = hn::Zero(d);
  alignas(64) float rest[kLanes];
  for (int64_t j = 0; j < w.keys; j += kLanes) {
    const int64_t count = std::min(kLanes, w.keys - j);
    std::fill(rest, rest + kLanes, kMasked);
    std::copy_n(w.scores + j, count, rest);
    const V score = hn::Load(d, rest), x = hn::Sub(hn::Sub(score, max), log_sum);
    // Out of sight 0, though the softmax have left NaN.
    const V weight = hn::IfThenZeroElse(hn::Eq(score, hn::Set(d, kMasked)), exp2_of(x));
    entropy = hn::NegMulAdd(weight, hn::Max(least, x), entropy);
    hn::Store(weight, d, rest);
    std::copy_n(rest, count, w.scores + j);
  }
  return kLn2 * hn::GetLane(hn::SumOfLanes(d, entropy));
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/attention_select.hpp"
namespace fovea::kernels {
namespace {

constexpr int64_t kRunBytes = 16384;  // of keys

DecodeKernels kernels_of(Isa isa) {
  return {FOVEA_ATTENTION_PICK(isa, decode_run),     FOVEA_ATTENTION_PICK(isa, decode_workspace),
          FOVEA_ATTENTION_PICK(isa, decode_narrows), FOVEA_ATTENTION_PICK(isa, decode_narrow_rows),
          FOVEA_ATTENTION_PICK(isa, decode_squares), FOVEA_ATTENTION_PICK(isa, decode_weigh)};
}

}  // namespace

DecodeLayout decode_layout(DecodeType type, int64_t width, int64_t value_width, int64_t block) {
  const int64_t element = type == DecodeType::kF32 ? 4 : type == DecodeType::kInt8 ? 1 : 2;
  DecodeLayout layout;
  layout.block = block;
  layout.key_bytes = width * element;
  layout.value_bytes = value_width * element;
  layout.scale_bytes = type == DecodeType::kInt8 ? 4 : 0;
  layout.run = std::clamp<int64_t>(kRunBytes / layout.key_bytes / 16 * 16, 16, kDecodeRunTokens);
  return layout;
}

const DecodeKernels& decode_kernels() {
  static const DecodeKernels tables[] = {kernels_of(Isa::kBaseline), kernels_of(Isa::kAvx2),
                                         kernels_of(Isa::kAvx512)};
  return tables[static_cast<size_t>(current_isa())];
}

}  // namespace fovea::kernels
#endif
