// The gradients of biases from those of a column of scores: dS [key][kLd], lanes are queries.
#if defined(FOVEA_ATTENTION_BIAS_GRADIENT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_BIAS_GRADIENT_INL
#undef FOVEA_ATTENTION_BIAS_GRADIENT_INL
#else
#define FOVEA_ATTENTION_BIAS_GRADIENT_INL
#endif

#include "kernels/attention_mask-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// ddistance[i' − j] += dS; ddistance is the place of the column's first query and the block's first key.
template <int64_t kLd>
HWY_NOINLINE void add_distance_column(const float* ds, KeyRun run, float* ddistance) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) {
    hn::StoreU(hn::Add(hn::LoadU(d, ddistance - j), hn::Load(d, ds + j * kLd)), d, ddistance - j);
  }
}

// dbias += dS on a column; a stride of 0 sums over that axis, in the order of the other.
template <int64_t kLd>
HWY_NOINLINE void add_bias_column(const float* ds, KeyRun run, QueryColumn q, int64_t block, float* dbias,
                                  int64_t across, int64_t along) {
  const F d;
  dbias += q.row * across + (block + run.begin) * along;
  ds += run.begin * kLd;
  const int64_t keys = run.end - run.begin;
  if (along == 1 && across != 0) {
    unpack_column<true, kLd>(ds, hn::Set(d, 1.0f), q.rows, keys, dbias, across);
  } else if (across == 0) {
    for (int64_t j = 0; j < keys; ++j)
      dbias[j * along] += hn::GetLane(hn::SumOfLanes(d, hn::Load(d, ds + j * kLd)));
  } else {
    for (int64_t j = 0; j < keys; ++j) {
      for (int64_t i = 0; i < q.rows; ++i) dbias[i * across + j * along] += ds[j * kLd + i];
    }
  }
}

// Tiles of BiasSums: kPanel queries by kKeyBlock keys, [key][query], those of a panel one after the other. A
// byte for each, in front of them, says whether anything has been added to it.
struct BiasTiles {
  uint8_t* added;
  float* tiles;
  int64_t panels, blocks;

  static constexpr int64_t kTile = kPanel * kKeyBlock;
  static int64_t panels_of(int64_t queries) { return (queries + kPanel - 1) / kPanel; }
  static int64_t blocks_of(int64_t keys) { return (keys + kKeyBlock - 1) / kKeyBlock; }
  static int64_t flags(int64_t panels, int64_t blocks) {  // as floats, in whole cache lines
    return round_up(panels * blocks, 64) / static_cast<int64_t>(sizeof(float));
  }
  explicit BiasTiles(const BiasSums& sums)
      : added(reinterpret_cast<uint8_t*>(sums.memory)),
        tiles(sums.memory + flags(panels_of(sums.queries), blocks_of(sums.keys))),
        panels(panels_of(sums.queries)),
        blocks(blocks_of(sums.keys)) {}
};

// The tile of a panel and a key block, which begin at a query and a key of the sequence.
HWY_INLINE float* bias_tile(const BiasSums& sums, int64_t head_offset, int64_t row, int64_t key) {
  BiasSums mine = sums;
  mine.memory += head_offset;
  const BiasTiles all(mine);
  const int64_t at = (row - sums.q_begin) / kPanel * all.blocks + (key - sums.k_begin) / kKeyBlock;
  float* tile = all.tiles + at * BiasTiles::kTile;
  if (all.added[at] == 0) {
    all.added[at] = 1;
    zero_floats(tile, BiasTiles::kTile);
  }
  return tile;
}

// sums += dS, dS := scale·dS on a column; `sums` is the column of a tile.
template <int64_t kLd>
HWY_NOINLINE void sum_and_scale_column(float* ds, KeyRun run, float scale, float* sums) {
  const F d;
  const V factor = hn::Set(d, scale);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V x = hn::Load(d, ds + j * kLd);
    hn::Store(hn::Add(hn::Load(d, sums + j * kPanel), x), d, sums + j * kPanel);
    hn::Store(hn::Mul(x, factor), d, ds + j * kLd);
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
