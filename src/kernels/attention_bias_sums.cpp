// Sums of score gradients in tiles, to the gradient of a bias.
#include "kernels/attention_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_bias_sums.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_bias_gradient-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

int64_t bias_sums_size(int64_t queries, int64_t keys) {
  const int64_t panels = BiasTiles::panels_of(queries), blocks = BiasTiles::blocks_of(keys);
  return BiasTiles::flags(panels, blocks) + panels * blocks * BiasTiles::kTile;
}

void begin_bias_sums(const BiasSums& sums) {
  const BiasTiles all(sums);
  std::fill_n(all.added, all.panels * all.blocks, uint8_t{0});
}

void end_bias_sums(const BiasSums& sums, int64_t begin, int64_t end, float* dbias, int64_t query_stride,
                   int64_t key_stride) {
  const BiasTiles all(sums);
  for (int64_t row = begin; row < end; row += kPanel) {
    for (int64_t key = 0; key < sums.keys; key += kKeyBlock) {
      const int64_t at = row / kPanel * all.blocks + key / kKeyBlock;
      if (all.added[at] == 0) continue;
      const KeyRun run{0, std::min(kKeyBlock, sums.keys - key)};
      for (int64_t lane = 0; lane < std::min(kPanel, end - row); lane += kLanes) {
        const QueryColumn q{sums.q_begin + row + lane, std::min(kLanes, end - row - lane)};
        add_bias_column<kPanel>(all.tiles + at * BiasTiles::kTile + lane, run, q, sums.k_begin + key, dbias,
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

decltype(AttentionKernels::bias_sums_size) attention_bias_sums_size(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, bias_sums_size);
}
decltype(AttentionKernels::begin_bias_sums) attention_begin_bias_sums(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, begin_bias_sums);
}
decltype(AttentionKernels::end_bias_sums) attention_end_bias_sums(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, end_bias_sums);
}

}  // namespace fovea::kernels
#endif
