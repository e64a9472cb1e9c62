// The mass that each key receives, and sums over weights: a second pass over the scores, with the final
// log-sum-exp.
#include "kernels/attention_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_mass.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_tile-inl.hpp"
#include "kernels/attention_weigh-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// P := 2^(S − lse).
HWY_NOINLINE void weigh(float* s, KeyRun run, const float* lse2) {
  const F d;
  const V minus = hn::Load(d, lse2);
  for (int64_t j = run.begin; j < run.end; ++j)
    hn::Store(exp2_of(hn::Sub(hn::Load(d, s + j * kPanel), minus)), d, s + j * kPanel);
}

// Lanes beyond the last query weigh 0.
HWY_NOINLINE void add_mass(const float* p, KeyRun run, float* mass, int64_t stride) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j)
    mass[j * stride] += hn::GetLane(hn::SumOfLanes(d, hn::Load(d, p + j * kPanel)));
}

}  // namespace

int64_t mass_workspace(int64_t width) {
  return kPanel * (width + kKeyBlock + 1);
}

void mass(const AttentionMassTask& task, float* workspace) {
  const AttentionHead& h = task.head;
  float* qt = workspace;
  float* s = qt + kPanel * h.width;
  float* lse2 = s + kPanel * kKeyBlock;
  alignas(64) float one[kLanes];
  alignas(64) float zero[kLanes] = {};
  std::fill_n(one, kLanes, 1.0f);
  for (int64_t row = 0; row < h.q_length; row += kPanel) {
    QueryColumn column[2];
    const int64_t rows = std::min(kPanel, h.q_length - row);
    const int64_t columns = rows > kLanes ? 2 : 1;
    for (int64_t c = 0; c < columns; ++c) {
      column[c] = {row + c * kLanes, std::min(kLanes, rows - c * kLanes)};
      pack_column(h.q + column[c].row * h.q_stride, h.q_stride, column[c].rows, h.width, h.scale * kLog2E,
                  qt + c * kLanes);
      for (int64_t i = 0; i < kLanes; ++i) {
        const float lse = i < column[c].rows ? task.lse[(column[c].row + i) * task.row_stride] : -HUGE_VALF;
        lse2[c * kLanes + i] = lse == -HUGE_VALF ? 1e30f : lse * kLog2E;
      }
    }
    WeightObserver weights(task.sums, h, lse2 + kPanel);
    const int64_t end = end_key(h, row + rows - 1);
    const int64_t first = first_key(h, row) / kKeyBlock * kKeyBlock;
    for (int64_t block = next_block(h, row, row + rows, first); block < end;
         block = next_block(h, row, row + rows, block + kKeyBlock)) {
      const int64_t block_end = std::min(block + kKeyBlock, h.k_length);
      PanelView view;
      view_panel(h, column, columns, block, block_end, view);
      const PanelRuns& runs = view.runs;
      rows_over_runs(runs, h.width, h.k + block * h.k_stride, h.k_stride, qt, s, kPanel);
      for (int64_t c = 0; c < columns; ++c) {
        modify_column(s + c * kLanes, kPanel, view, c, h, column[c], block, nullptr);
        const KeyRun run = runs.column[c];
        float* p = s + c * kLanes;
        weigh(p, run, lse2 + c * kLanes);
        if (task.mass != nullptr) add_mass(p, run, task.mass + block * task.mass_stride, task.mass_stride);
        if (weights.any() && run.begin < run.end) weights.see(p, run, h, column[c], block, c, one, zero);
      }
    }
    for (int64_t c = 0; weights.any() && c < columns; ++c) {
      weights.finish(task.row_stride, column[c], c, one);
      weights.finish_blocks(task.row_stride, column[c], c, zero, one);
    }
  }
}

int64_t mass_sums_workspace(const AttentionWeightSums& sums, int64_t keys) {
  return WeightObserver::floats(sums, keys);
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/attention_select.hpp"
namespace fovea::kernels {
FOVEA_ATTENTION_SELECT(mass)

decltype(AttentionKernels::mass_sums_workspace) attention_mass_sums_workspace(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, mass_sums_workspace);
}
}  // namespace fovea::kernels
#endif
