// Forward: for a chunk of queries, key block by key block,
//   S = K·Qᵀ (log2 units) -> modifiers, mask -> running maximum, P = 2^(S − m), running sum -> Oᵀ += Vᵀ·P.
#include "kernels/attention_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_forward.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstddef>
#include <new>
#include <type_traits>

#include "kernels/attention_differences-inl.hpp"
#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_observe-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"
#include "kernels/attention_weigh-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// Panels of a task: their Q and O stay in the second-level cache. Whole tiles of queries, so that no two
// tasks share a row of the map of block masses.
constexpr int64_t kChunkPanels = std::max<int64_t>(8, kTileQueries / kPanel);

// The running state of one panel of queries, in lanes.
struct Panel {
  QueryColumn column[2];
  int64_t columns = 0;
  float* qt = nullptr;           // [width][kPanel], scaled by scale·log2 e
  float* ot = nullptr;           // [value_width][kPanel]
  float* max = nullptr;          // [kPanel] running maximum
  float* sum = nullptr;          // [kPanel] Σ 2^(s − max)
  float* slope = nullptr;        // [kPanel] Σ 2^(s − max)·(s − max), for the entropy
  bool fresh[2] = {true, true};  // nothing in the column of ot yet
  RowObserver observer;
  WeightObserver weights;
};

// P := 2^(S − m) on a column, with the new maximum m; returns whether Oᵀ of the column must be rescaled by
// `alpha`. `highest`: the largest score of each query, where an observer has looked for it; null: not known.
template <bool kStatistics>
HWY_NOINLINE bool softmax_column(float* s, KeyRun run, const float* highest, float* max, float* sum,
                                 float* slope, float* alpha_out) {
  const F d;
  const V old_max = hn::Load(d, max);
  const V new_max = hn::Max(highest != nullptr ? hn::Load(d, highest) : highest_of(s, run), old_max);
  int64_t j = run.begin;
  const V alpha = exp2_of(hn::Sub(old_max, new_max));
  V l0 = hn::Zero(d), l1 = l0, l2 = l0, l3 = l0;
  V t0 = l0, t1 = l0;
  const V least = hn::Set(d, -200.0f);  // keeps 0·(−∞) out of the statistics
  for (j = run.begin; j + 4 <= run.end; j += 4) {
    float* row = s + j * kPanel;
    const V x0 = hn::Sub(hn::Load(d, row), new_max), x1 = hn::Sub(hn::Load(d, row + kPanel), new_max);
    const V x2 = hn::Sub(hn::Load(d, row + 2 * kPanel), new_max),
            x3 = hn::Sub(hn::Load(d, row + 3 * kPanel), new_max);
    const V p0 = exp2_of(x0), p1 = exp2_of(x1), p2 = exp2_of(x2), p3 = exp2_of(x3);
    hn::Store(p0, d, row);
    hn::Store(p1, d, row + kPanel);
    hn::Store(p2, d, row + 2 * kPanel);
    hn::Store(p3, d, row + 3 * kPanel);
    l0 = hn::Add(l0, p0);
    l1 = hn::Add(l1, p1);
    l2 = hn::Add(l2, p2);
    l3 = hn::Add(l3, p3);
    if (kStatistics) {
      t0 = hn::MulAdd(p0, hn::Max(least, x0), t0);
      t1 = hn::MulAdd(p1, hn::Max(least, x1), t1);
      t0 = hn::MulAdd(p2, hn::Max(least, x2), t0);
      t1 = hn::MulAdd(p3, hn::Max(least, x3), t1);
    }
  }
  for (; j < run.end; ++j) {
    const V x = hn::Sub(hn::Load(d, s + j * kPanel), new_max);
    const V p = exp2_of(x);
    hn::Store(p, d, s + j * kPanel);
    l0 = hn::Add(l0, p);
    if (kStatistics) t0 = hn::MulAdd(p, hn::Max(least, x), t0);
  }
  const V old_sum = hn::Load(d, sum);
  if (kStatistics) {  // rebased on the new maximum
    const V moved = hn::MulAdd(old_sum, hn::Max(least, hn::Sub(old_max, new_max)), hn::Load(d, slope));
    hn::Store(hn::MulAdd(moved, alpha, hn::Add(t0, t1)), d, slope);
  }
  hn::Store(hn::MulAdd(old_sum, alpha, hn::Add(hn::Add(l0, l1), hn::Add(l2, l3))), d, sum);
  hn::Store(new_max, d, max);
  hn::Store(alpha, d, alpha_out);
  return !hn::AllTrue(d, hn::Eq(old_max, new_max));
}

HWY_NOINLINE void rescale_column(float* ot, int64_t width, const float* alpha) {
  const F d;
  const V a = hn::Load(d, alpha);
  for (int64_t c = 0; c < width; ++c) hn::Store(hn::Mul(hn::Load(d, ot + c * kPanel), a), d, ot + c * kPanel);
}

HWY_NOINLINE void drop_column(float* p, KeyRun run, const AttentionHead& h, QueryColumn q, int64_t block) {
  for_kept(h, q, block, run, [p](int64_t j, auto kept) HWY_ATTR {
    const F d;
    hn::Store(hn::IfThenElseZero(kept, hn::Load(d, p + j * kPanel)), d, p + j * kPanel);
  });
}

// Oᵀ += Vᵀ·P key by key, only where a query sees the key: where V holds NaN or ∞, 0·NaN must not reach the
// others, whose bits stay: keys come in the order of columns_over_runs. `scores` are those before the
// softmax.
HWY_NOINLINE void add_seen_values(const AttentionHead& h, Panel& panel, const PanelRuns& runs, const float* v,
                                  int64_t ldv, const float* p, const float* scores) {
  const F d;
  for (int64_t c = 0; c < panel.columns; ++c) {
    if (panel.fresh[c]) zero_column(panel.ot + c * kLanes, h.value_width);
    panel.fresh[c] = false;
    for (const KeyRun& run : {runs.both, c == 0 ? runs.first : runs.second}) {
      for (int64_t j = run.begin; j < run.end; ++j) {
        const int64_t at = j * kPanel + c * kLanes;
        const auto hidden = hn::Eq(hn::Load(d, scores + at), hn::Set(d, kMasked));
        const V weight = hn::Load(d, p + at);
        for (int64_t e = 0; e < h.value_width; ++e) {
          float* to = panel.ot + e * kPanel + c * kLanes;
          const V sum = hn::Load(d, to);
          hn::Store(hn::IfThenElse(hidden, sum, hn::MulAdd(hn::Set(d, v[j * ldv + e]), weight, sum)), d, to);
        }
      }
    }
  }
}

void keep_scores(const float* s, KeyRun run, float* kept) {
  const F d;
  for (int64_t j = run.begin; j < run.end; ++j) hn::Store(hn::Load(d, s + j * kPanel), d, kept + j * kPanel);
}

// One panel against one key block; k and v are the block's first rows, `careful` when v needs
// add_seen_values.
void panel_block(const AttentionHead& h, Panel& panel, int64_t block, int64_t block_end, const float* k,
                 int64_t ldk, const float* v, int64_t ldv, bool careful, float* s, Ahead& ahead) {
  PanelView view;
  view_panel(h, panel.column, panel.columns, block, block_end, view);
  const PanelRuns& runs = view.runs;
  if (runs.column[0].end == runs.column[0].begin && runs.column[1].end == runs.column[1].begin) return;
  Ahead soon;  // of this block
  add_bias_rows(h, panel.column[0].row, panel.column[0].rows + panel.column[1].rows, block, block_end - block,
                soon);
  soon.spread((block_end - block) / kTileRows);
  scores_over_runs(h, runs, k, ldk, panel.qt, s, kPanel, BothAhead{ahead, soon});
  soon.finish();
  alignas(64) float alpha[kLanes];
  alignas(64) float scores[kKeyBlock * kPanel];  // of the careful path
  for (int64_t c = 0; c < panel.columns; ++c) {
    const KeyRun run = runs.column[c];
    if (run.begin == run.end) continue;
    const int64_t at = c * kLanes;
    modify_column(s + at, kPanel, view, c, h, panel.column[c], block, nullptr);
    if (careful) keep_scores(s + at, run, scores + at);
    bool moved = false;
    if (panel.observer.any()) {
      alignas(64) float highest[kLanes];
      const bool known = panel.observer.see(s + at, run, block, c, highest);
      moved = softmax_column<true>(s + at, run, known ? highest : nullptr, panel.max + at, panel.sum + at,
                                   panel.slope + at, alpha);
    } else {
      moved = softmax_column<false>(s + at, run, nullptr, panel.max + at, panel.sum + at, nullptr, alpha);
    }
    if (panel.weights.any())
      panel.weights.see(s + at, run, h, panel.column[c], block, c, alpha, panel.max + at);
    if (moved && !panel.fresh[c]) rescale_column(panel.ot + at, h.value_width, alpha);
    if (h.drop_below != 0) drop_column(s + at, run, h, panel.column[c], block);
  }
  if (careful) return add_seen_values(h, panel, runs, v, ldv, s, scores);
  columns_over_runs(runs, h.value_width, v, ldv, s, kPanel, panel.ot, panel.fresh, ahead);
}

void begin_panel(const AttentionHead& h, Panel& panel, int64_t row, int64_t rows) {
  const F d;
  panel.columns = rows > kLanes ? 2 : 1;
  for (int64_t c = 0; c < panel.columns; ++c) {
    panel.column[c] = {row + c * kLanes, std::min(kLanes, rows - c * kLanes)};
    pack_column(h.q + panel.column[c].row * h.q_stride, h.q_stride, panel.column[c].rows, h.width,
                packed_scale(h), panel.qt + c * kLanes);
    // A sink is a key without a value, seen first.
    const V max = hn::Set(d, h.sink != nullptr ? in_log2_units(*h.sink) : kFloor);
    hn::Store(max, d, panel.max + c * kLanes);
    hn::Store(hn::Set(d, h.sink != nullptr ? 1.0f : 0.0f), d, panel.sum + c * kLanes);
    hn::Store(hn::Zero(d), d, panel.slope + c * kLanes);
  }
}

// Whether the output is finite.
bool end_panel(const AttentionForwardTask& task, Panel& panel) {
  const F d;
  const AttentionHead& h = task.head;
  bool finite = true;
  for (int64_t c = 0; c < panel.columns; ++c) {
    if (panel.fresh[c]) zero_column(panel.ot + c * kLanes, h.value_width);  // no key was seen
    const QueryColumn q = panel.column[c];
    const V sum = hn::Load(d, panel.sum + c * kLanes), max = hn::Load(d, panel.max + c * kLanes);
    const auto empty = hn::Eq(sum, hn::Zero(d));
    const V factor = hn::IfThenZeroElse(empty, hn::Div(hn::Set(d, h.keep_scale), sum));
    finite &= unpack_column<false>(panel.ot + c * kLanes, factor, q.rows, h.value_width,
                                   task.out + q.row * task.out_stride, task.out_stride);
    store_softmax_rows(max, sum, q.rows, q.row * task.row_stride, task.row_stride, task.lse, task.softmax);
    if (panel.observer.any()) {
      panel.observer.finish(task.statistics, task.row_stride, q.row, q.rows, c, panel.max + c * kLanes,
                            panel.sum + c * kLanes, panel.slope + c * kLanes);
    }
    if (panel.weights.any()) panel.weights.finish(task.row_stride, q, c, panel.sum + c * kLanes);
  }
  return finite;
}

// Does a panel again, carefully.
void redo_panel(const AttentionForwardTask& task, Panel& panel, float* s) {
  const AttentionHead& h = task.head;
  const int64_t row = panel.column[0].row, rows = panel.column[0].rows + panel.column[1].rows;
  panel.fresh[0] = panel.fresh[1] = true;
  panel.observer = RowObserver(task.statistics, h.k_length, panel.slope + kPanel);
  panel.weights = WeightObserver(
      task.sums, h, panel.slope + kPanel + RowObserver::floats(task.statistics.top_k, h.k_length));
  begin_panel(h, panel, row, rows);
  Ahead nothing;
  const int64_t end = end_key(h, row + rows - 1);
  const int64_t first = first_key(h, row) / kKeyBlock * kKeyBlock;
  for (int64_t block = next_block(h, row, row + rows, first); block < end;
       block = next_block(h, row, row + rows, block + kKeyBlock)) {
    panel_block(h, panel, block, std::min(block + kKeyBlock, h.k_length), h.k + block * h.k_stride,
                h.k_stride, h.v + block * h.v_stride, h.v_stride, true, s, nothing);
  }
  end_panel(task, panel);
}

// Lists what comes after a key block: the key block `next` of the same task, or what the next task begins
// with.
void look_ahead(const AttentionForwardTask& task, int64_t next, int64_t end, Ahead& ahead) {
  const AttentionHead& h = task.head;
  if (next < end) {
    const int64_t rows = std::min(kKeyBlock, h.k_length - next);
    ahead.add(h.k + next * h.k_stride, h.k_stride, rows, h.width);
    ahead.add(h.v + next * h.v_stride, h.v_stride, rows, h.value_width);
  } else if (task.next != nullptr) {
    const AttentionHead& then = *task.next;
    ahead.add(then.q + task.next_begin * then.q_stride, then.q_stride, task.next_end - task.next_begin,
              then.width);
    const int64_t first = first_key(then, task.next_begin) / kKeyBlock * kKeyBlock;
    const int64_t rows = std::min(kKeyBlock, then.k_length - first);
    ahead.add(then.k + first * then.k_stride, then.k_stride, rows, then.width);
    ahead.add(then.v + first * then.v_stride, then.v_stride, rows, then.value_width);
  }
}

int64_t panel_floats(int64_t width, int64_t value_width, int64_t top_k) {
  return kPanel * (width + value_width + 3) + RowObserver::floats(top_k, top_k);
}

}  // namespace

int64_t forward_workspace(int64_t width, int64_t value_width, int64_t top_k) {
  return kChunkPanels * panel_floats(width, value_width, top_k) + kKeyBlock * kPanel +
         round_up(kKeyBlock * (width + value_width), kLanes) + 2 * kLanes;
}

int64_t forward_sums_workspace(const AttentionWeightSums& sums, int64_t keys) {
  return kChunkPanels * WeightObserver::floats(sums, keys);
}

void forward(const AttentionForwardTask& task, float* workspace) {
  const AttentionHead& h = task.head;
  // Made one by one: a short sequence has one panel, and eight empty ones would cost as much as its scores.
  alignas(Panel) std::byte memory[kChunkPanels * sizeof(Panel)];
  static_assert(std::is_trivially_destructible_v<Panel>);
  auto* panels = reinterpret_cast<Panel*>(memory);
  int64_t count = 0;
  for (int64_t row = task.q_begin; row < task.q_end; row += kPanel) {
    Panel& panel = *new (panels + count++) Panel;
    panel.qt = workspace;
    panel.ot = panel.qt + kPanel * h.width;
    panel.max = panel.ot + kPanel * h.value_width;
    panel.sum = panel.max + kPanel;
    panel.slope = panel.sum + kPanel;
    workspace = panel.slope + kPanel;
    panel.observer = RowObserver(task.statistics, h.k_length, workspace);
    workspace += RowObserver::floats(task.statistics.top_k, h.k_length);
    panel.weights = WeightObserver(task.sums, h, workspace);
    workspace += WeightObserver::floats(task.sums, h.k_length);
    begin_panel(h, panel, row, std::min(kPanel, task.q_end - row));
  }
  float* s = workspace;
  float* k_copy = s + kKeyBlock * kPanel;
  float* v_copy = k_copy + round_up(kKeyBlock * h.width, kLanes);

  // Key blocks begin at multiples of kKeyBlock, whatever the chunk. Rows far apart in memory are brought
  // together when more than two panels read them: copying costs as much as two strided readings.
  const int64_t begin = first_key(h, task.q_begin) / kKeyBlock * kKeyBlock;
  const int64_t end = end_key(h, task.q_end - 1);
  Ahead ahead;
  if (task.next != nullptr) {  // far away, as what comes next
    ahead.add(task.out + task.q_begin * task.out_stride, task.out_stride, task.q_end - task.q_begin,
              h.value_width);
  }
  for (int64_t block = next_block(h, task.q_begin, task.q_end, begin), next = 0; block < end; block = next) {
    next = next_block(h, task.q_begin, task.q_end, block + kKeyBlock);
    const int64_t block_end = std::min(block + kKeyBlock, h.k_length);
    const float* k = h.k + block * h.k_stride;
    const float* v = h.v + block * h.v_stride;
    int64_t ldk = h.k_stride, ldv = h.v_stride;
    if (count > 2 && ldk != h.width) {
      copy_rows(k, ldk, block_end - block, h.width, k_copy, h.width);
      k = k_copy;
      ldk = h.width;
    }
    if (count > 2 && ldv != h.value_width) {
      copy_rows(v, ldv, block_end - block, h.value_width, v_copy, h.value_width);
      v = v_copy;
      ldv = h.value_width;
    }
    look_ahead(task, next, end, ahead);
    ahead.spread(count * ((block_end - block) / kTileRows + h.value_width / kTileRows));
    for (int64_t p = 0; p < count; ++p) {
      panel_block(h, panels[p], block, block_end, k, ldk, v, ldv, false, s, ahead);
    }
    ahead.finish();
  }
  const bool masked = h.left < h.q_length + h.k_length || h.right < h.q_length + h.k_length ||
                      h.mask != nullptr || h.tile_rows != nullptr || h.bias != nullptr;
  for (int64_t p = 0; p < count; ++p) {
    if (!end_panel(task, panels[p]) && masked) redo_panel(task, panels[p], s);
    for (int64_t c = 0; c < panels[p].columns; ++c) {
      panels[p].weights.finish_blocks(task.row_stride, panels[p].column[c], c, panels[p].max + c * kLanes,
                                      panels[p].sum + c * kLanes);
    }
  }
}

int64_t query_chunk() {
  return kChunkPanels * kPanel;
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/attention_select.hpp"
namespace fovea::kernels {
FOVEA_ATTENTION_SELECT(forward)

decltype(AttentionKernels::forward_sums_workspace) attention_forward_sums_workspace(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, forward_sums_workspace);
}

int64_t attention_query_chunk(Isa isa) {
  return FOVEA_ATTENTION_PICK(isa, query_chunk)();
}

}  // namespace fovea::kernels
#endif
