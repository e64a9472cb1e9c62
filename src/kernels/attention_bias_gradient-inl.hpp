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

// How ScoreTiles lie: tiles of kPanel queries by kKeyBlock keys, [key][query], those of a panel one after the
// other; in front of them a byte for each says whether it is made.
struct TileLayout {
  uint8_t* made;
  float* tiles;
  int64_t panels, blocks;

  static constexpr int64_t kTile = kPanel * kKeyBlock;
  static int64_t panels_of(int64_t queries) { return (queries + kPanel - 1) / kPanel; }
  static int64_t blocks_of(int64_t keys) { return (keys + kKeyBlock - 1) / kKeyBlock; }
  static int64_t flags(int64_t panels, int64_t blocks) {  // as floats, in whole cache lines
    return round_up(panels * blocks, 64) / static_cast<int64_t>(sizeof(float));
  }
  explicit TileLayout(const ScoreTiles& all)
      : made(reinterpret_cast<uint8_t*>(all.memory)),
        tiles(all.memory + flags(panels_of(all.queries), blocks_of(all.keys))),
        panels(panels_of(all.queries)),
        blocks(blocks_of(all.keys)) {}
};

// The tile of the panel and the key block that begin at a query and a key of the sequence; make(tile) if it
// is not yet made. `all` begins at an offset, that of a head.
template <class Make>
HWY_INLINE float* tile_of(const ScoreTiles& all, int64_t offset, int64_t row, int64_t key, Make make) {
  ScoreTiles mine = all;
  mine.memory += offset;
  const TileLayout layout(mine);
  const int64_t at = (row - all.q_begin) / kPanel * layout.blocks + (key - all.k_begin) / kKeyBlock;
  float* tile = layout.tiles + at * TileLayout::kTile;
  if (layout.made[at] == 0) {
    layout.made[at] = 1;
    make(tile);
  }
  return tile;
}

HWY_INLINE float* sums_tile(const ScoreTiles& all, int64_t offset, int64_t row, int64_t key) {
  return tile_of(all, offset, row, key, [](float* tile) { zero_floats(tile, TileLayout::kTile); });
}

// The bias of a panel, of which `rows` queries exist, and of a block of keys.
HWY_INLINE const float* bias_tile(const ScoreTiles& all, const AttentionHead& h, int64_t row, int64_t rows,
                                  int64_t key, int64_t keys) {
  return tile_of(all, 0, row, key, [&](float* tile) {
    for (int64_t lane = 0; lane < rows; lane += kLanes) {
      pack_column(h.bias + (row + lane) * h.bias_query_stride + key, h.bias_query_stride,
                  std::min(kLanes, rows - lane), keys, 1.0f, tile + lane);
    }
  });
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

// dS := P∘(dP − δ) in place of dP, sums += dS, dS := scale·dS.
template <int64_t kLd>
HWY_NOINLINE void summed_gradient_column(const float* p, float* dp, KeyRun run, const float* delta,
                                         float scale, float* sums) {
  const F d;
  const V minus = hn::Load(d, delta), factor = hn::Set(d, scale);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V x = hn::Mul(hn::Load(d, p + j * kLd), hn::Sub(hn::Load(d, dp + j * kLd), minus));
    hn::Store(hn::Add(hn::Load(d, sums + j * kPanel), x), d, sums + j * kPanel);
    hn::Store(hn::Mul(x, factor), d, dp + j * kLd);
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
