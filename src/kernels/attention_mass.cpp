// The mass that each key receives, and sums over weights: a second pass over the scores, with the final
// maximum and log-sum of each row.
#include "kernels/attention_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_mass.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_differences-inl.hpp"
#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_spoilt-inl.hpp"
#include "kernels/attention_tile-inl.hpp"
#include "kernels/attention_weigh-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kMassPanels = 8;  // whose masses are added in lanes before they are summed across

struct MassPanel {
  QueryColumn column[2];
  int64_t columns = 0, row = 0, rows = 0;
  bool spoilt = false;       // a maximum or a log-sum is NaN or ∞
  float* qt = nullptr;       // [width][kPanel]
  float* max = nullptr;      // [kPanel], of SoftmaxRow
  float* log_sum = nullptr;  // [kPanel]
  WeightObserver weights;
};

// sums[key] += P, P = 2^((S − max) − log_sum), in lanes. Lanes beyond the last of the `rows` queries weigh 0,
// whatever a key that no query sees may hold. P is kept in place of S only where it is read again.
template <bool kKeep>
HWY_NOINLINE void weigh(float* s, KeyRun run, int64_t rows, const float* max, const float* log_sum,
                        float* sums) {
  const F d;
  const auto exist = hn::FirstN(d, static_cast<size_t>(rows));
  const V most = hn::Load(d, max), minus = hn::Load(d, log_sum);
  int64_t j = run.begin;
  const auto one = [&](int64_t key) HWY_ATTR {
    const V x = hn::Sub(hn::Sub(hn::Load(d, s + key * kPanel), most), minus);
    const V p = hn::IfThenElseZero(exist, exp2_of(x));
    if (kKeep) hn::Store(p, d, s + key * kPanel);
    hn::Store(hn::Add(hn::Load(d, sums + key * kLanes), p), d, sums + key * kLanes);
  };
  for (; j + 4 <= run.end; j += 4) {
    one(j);
    one(j + 1);
    one(j + 2);
    one(j + 3);
  }
  for (; j < run.end; ++j) one(j);
}

// P := 2^((S − max) − log_sum), 0 out of sight whatever these are: NaN reaches no key that a query does not
// see.
HWY_NOINLINE void weigh_spoilt(float* s, KeyRun run, int64_t rows, const float* max, const float* log_sum,
                               float* sums) {
  const F d;
  const auto exist = hn::FirstN(d, static_cast<size_t>(rows));
  const V most = hn::Load(d, max), minus = hn::Load(d, log_sum);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const V x = hn::Load(d, s + j * kPanel);
    const auto seen = hn::AndNot(hn::Eq(x, hn::Set(d, kMasked)), exist);
    const V p = hn::IfThenElseZero(seen, exp2_of(hn::Sub(hn::Sub(x, most), minus)));
    hn::Store(p, d, s + j * kPanel);
    hn::Store(hn::Add(hn::Load(d, sums + j * kLanes), p), d, sums + j * kLanes);
  }
}

void begin_panel(const AttentionMassTask& task, MassPanel& panel, int64_t row, int64_t rows) {
  const AttentionHead& h = task.head;
  panel.row = row;
  panel.rows = rows;
  panel.columns = rows > kLanes ? 2 : 1;
  for (int64_t c = 0; c < panel.columns; ++c) {
    const QueryColumn q = panel.column[c] = {row + c * kLanes, std::min(kLanes, rows - c * kLanes)};
    pack_column(h.q + q.row * h.q_stride, h.q_stride, q.rows, h.width, packed_scale(h),
                panel.qt + c * kLanes);
    for (int64_t i = 0; i < kLanes; ++i) {
      const SoftmaxRow softmax = i < q.rows ? task.softmax[(q.row + i) * task.row_stride] : SoftmaxRow();
      panel.max[c * kLanes + i] = softmax.empty() ? kNoKeys : softmax.max;
      panel.log_sum[c * kLanes + i] = softmax.log_sum;
      panel.spoilt = panel.spoilt || !is_finite(panel.max[c * kLanes + i]) || !is_finite(softmax.log_sum);
    }
  }
}

// One panel against the key block [block, block_end).
void panel_block(const AttentionHead& h, MassPanel& panel, int64_t block, int64_t block_end, float* s,
                 float* sums, const float* zero, const float* one) {
  PanelView view;
  view_panel(h, panel.column, panel.columns, block, block_end, view);
  scores_over_runs(h, view.runs, h.k + block * h.k_stride, h.k_stride, panel.qt, s, kPanel);
  for (int64_t c = 0; c < panel.columns; ++c) {
    const KeyRun run = view.runs.column[c];
    if (run.begin == run.end) continue;
    float* p = s + c * kLanes;
    const int64_t rows = panel.column[c].rows;
    modify_column(p, kPanel, view, c, h, panel.column[c], block, nullptr);
    if (panel.spoilt) {
      weigh_spoilt(p, run, rows, panel.max + c * kLanes, panel.log_sum + c * kLanes, sums);
    } else if (panel.weights.any()) {
      weigh<true>(p, run, rows, panel.max + c * kLanes, panel.log_sum + c * kLanes, sums);
    } else {
      weigh<false>(p, run, rows, panel.max + c * kLanes, panel.log_sum + c * kLanes, sums);
    }
    if (panel.weights.any()) panel.weights.see(p, run, h, panel.column[c], block, c, one, zero);
  }
}

}  // namespace

int64_t mass_workspace(int64_t width) {
  return kMassPanels * kPanel * (width + 2) + kKeyBlock * (kPanel + kLanes);
}

int64_t mass_sums_workspace(const AttentionWeightSums& sums, int64_t keys) {
  return kMassPanels * WeightObserver::floats(sums, keys);
}

void mass(const AttentionMassTask& task, float* workspace) {
  const F d;
  const AttentionHead& h = task.head;
  float* s = workspace;
  float* sums = s + kPanel * kKeyBlock;
  workspace = sums + kLanes * kKeyBlock;
  alignas(64) float one[kLanes];
  alignas(64) float zero[kLanes] = {};
  std::fill_n(one, kLanes, 1.0f);
  for (int64_t begin = 0; begin < h.q_length; begin += kMassPanels * kPanel) {
    const int64_t end = std::min(h.q_length, begin + kMassPanels * kPanel);
    MassPanel panels[kMassPanels];
    int64_t count = 0;
    float* place = workspace;
    for (int64_t row = begin; row < end; row += kPanel) {
      MassPanel& panel = panels[count++];
      panel.qt = place;
      panel.max = panel.qt + kPanel * h.width;
      panel.log_sum = panel.max + kPanel;
      place = panel.log_sum + kPanel;
      panel.weights = WeightObserver(task.sums, h, place);
      place += WeightObserver::floats(task.sums, h.k_length);
      begin_panel(task, panel, row, std::min(kPanel, end - row));
    }
    const int64_t last = std::min(end_key(h, end - 1), task.k_end);
    const int64_t first = std::max(first_key(h, begin) / kKeyBlock * kKeyBlock, task.k_begin);
    for (int64_t block = next_block(h, begin, end, first); block < last;
         block = next_block(h, begin, end, block + kKeyBlock)) {
      const int64_t block_end = std::min(block + kKeyBlock, h.k_length);
      zero_floats(sums, kLanes * (block_end - block));
      for (int64_t p = 0; p < count; ++p) panel_block(h, panels[p], block, block_end, s, sums, zero, one);
      if (task.mass == nullptr) continue;
      for (int64_t j = block; j < block_end; ++j) {
        task.mass[j * task.mass_stride] +=
            hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sums + (j - block) * kLanes)));
      }
    }
    for (int64_t p = 0; p < count; ++p) {
      const MassPanel& panel = panels[p];
      for (int64_t c = 0; panel.weights.any() && c < panel.columns; ++c) {
        panel.weights.finish(task.row_stride, panel.column[c], c, one);
        panel.weights.finish_blocks(task.row_stride, panel.column[c], c, zero, one);
      }
    }
  }
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
