// Tiles of scores: their room, and the way of sums in them to the gradient of a bias.
#include "kernels/attention_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_score_tiles.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_bias_gradient-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

int64_t score_tiles_size(int64_t queries, int64_t keys) {
  const int64_t panels = TileLayout::panels_of(queries), blocks = TileLayout::blocks_of(keys);
  return TileLayout::flags(panels, blocks) + panels * blocks * TileLayout::kTile;
}

void begin_score_tiles(const ScoreTiles& tiles) {
  const TileLayout all(tiles);
  std::fill_n(all.made, all.panels * all.blocks, uint8_t{0});
}

void add_score_tiles(const ScoreTiles& tiles, int64_t begin, int64_t end, float* dbias, int64_t query_stride,
                     int64_t key_stride) {
  const TileLayout all(tiles);
  for (int64_t row = begin; row < end; row += kPanel) {
    for (int64_t key = 0; key < tiles.keys; key += kKeyBlock) {
      const int64_t at = row / kPanel * all.blocks + key / kKeyBlock;
      if (all.made[at] == 0) continue;
      const KeyRun run{0, std::min(kKeyBlock, tiles.keys - key)};
      for (int64_t lane = 0; lane < std::min(kPanel, end - row); lane += kLanes) {
        const QueryColumn q{tiles.q_begin + row + lane, std::min(kLanes, end - row - lane)};
        add_bias_column<kPanel>(all.tiles + at * TileLayout::kTile + lane, run, q, tiles.k_begin + key, dbias,
                                query_stride, key_stride);
      }
    }
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/attention_select.hpp"
namespace fovea::kernels {

decltype(AttentionKernels::score_tiles_size) attention_score_tiles_size(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, score_tiles_size);
}
decltype(AttentionKernels::begin_score_tiles) attention_begin_score_tiles(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, begin_score_tiles);
}
decltype(AttentionKernels::add_score_tiles) attention_add_score_tiles(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, add_score_tiles);
}

}  // namespace fovea::kernels
#endif
