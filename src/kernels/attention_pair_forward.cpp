// Forward on bf16 pairs: for a chunk of queries, key block by key block,
//   S = K·Qᵀ (exact products, float32 sums) -> modifiers, mask -> maximum, P = 2^(S − m), sum -> Oᵀ += Vᵀ·P,
//   P in bf16.
#include "kernels/attention_pair_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_pair_forward.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_observe-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_pair_softmax-inl.hpp"
#include "kernels/attention_pair_tiles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

constexpr int64_t kChunkPanels = 8;  // queries of a task: their Q and O stay in the second-level cache

// The running state of one panel of queries, in lanes.
struct PairPanel {
  QueryColumn column[2];
  int64_t columns = 0;
  float* qt = nullptr;     // [pairs of width][kPanel]
  float* ot = nullptr;     // [value_width][kPanel]
  float* max = nullptr;    // [kPanel] running maximum, at most kSlack below the true one
  float* sum = nullptr;    // [kPanel] Σ 2^(s − max)
  float* slope = nullptr;  // [kPanel] Σ 2^(s − max)·(s − max), for the entropy
  bool fresh = true;       // nothing in ot yet
  RowObserver observer;
};

int64_t pairs_of(int64_t width) {
  return (width + 1) / 2;
}

HWY_NOINLINE void rescale_column(float* ot, int64_t width, const float* alpha) {
  const F d;
  const V a = hn::Load(d, alpha);
  for (int64_t c = 0; c < width; ++c) hn::Store(hn::Mul(hn::Load(d, ot + c * kPanel), a), d, ot + c * kPanel);
}

// Oᵀ += Vᵀ·P key by key, only where a query sees the key: where V holds NaN or ∞, 0·NaN must not reach the
// others, whose bits stay: keys come in the order of add_runs, of a pair the upper first. `scores` are those
// before the softmax.
HWY_NOINLINE void add_seen_values(const AttentionHead& h, PairPanel& panel, const PanelRuns& runs,
                                  const float* v, const float* p, const float* scores) {
  if (panel.fresh) zero_floats(panel.ot, h.value_width * kPanel);
  panel.fresh = false;
  const F d;
  const U32 du;
  for (int64_t c = 0; c < panel.columns; ++c) {
    const KeyRun run = runs.column[c];  // begins with a pair
    for (int64_t i = run.begin; i < round_up(run.end, 2); ++i) {
      const int64_t j = i ^ 1;
      if (j >= run.end) continue;
      const auto hidden = hn::Eq(hn::Load(d, scores + j * kPanel + c * kLanes), hn::Set(d, kMasked));
      const auto pair = hn::BitCast(du, hn::Load(d, p + j / 2 * kPanel + c * kLanes));
      const V weight =
          hn::BitCast(d, j % 2 == 0 ? hn::ShiftLeft<16>(pair) : hn::And(pair, hn::Set(du, 0xFFFF0000u)));
      for (int64_t e = 0; e < h.value_width; ++e) {
        BFloat16 value;
        std::memcpy(&value, reinterpret_cast<const char*>(v + e * kPairBlock) + j * 2, sizeof value);
        float* at = panel.ot + e * kPanel + c * kLanes;
        const V sum = hn::Load(d, at);
        const V more = hn::MulAdd(hn::Set(d, static_cast<float>(value)), weight, sum);
        hn::Store(hn::IfThenElse(hidden, sum, more), d, at);
      }
    }
  }
}

// A column's scores, which are S yet, with all that changes them but the factor that this returns.
HWY_INLINE float prepare_scores(const AttentionHead& h, PairPanel& panel, const PanelView& view, int64_t c,
                                int64_t block, float* s) {
  const KeyRun run = view.runs.column[c];
  const float unit = std::abs(h.scale) * kLog2E;
  const bool observed = panel.observer.any();
  const bool masks = view.hides[c] || is_edge(h, panel.column[c], run, block);
  if (observed || modifies(h) || (masks && unit < kLeastMaskUnit)) {
    scale_scores(s, run, unit);
    modify_column(s, kPanel, view, c, h, panel.column[c], block, nullptr);
    if (observed) panel.observer.see(s, run, block, c);
    return 1.0f;
  }
  if (masks) mask_column(s, kPanel, run, h, panel.column[c], block);
  if (view.hides[c]) hide_column(s, kPanel, run, view.words[c]);
  return unit;
}

// One panel against one key block; k is the block's first row, v the block transposed.
template <class Products>
void panel_block(const AttentionHead& h, PairPanel& panel, int64_t block, int64_t block_end, const float* k,
                 const float* v, bool careful, float* s, float* p) {
  PanelView view;
  view_panel(h, panel.column, panel.columns, block, block_end, view);
  const PanelRuns& runs = view.runs;
  if (runs.column[0].end == runs.column[0].begin && runs.column[1].end == runs.column[1].begin) return;
  score_runs<Products>(runs, pairs_of(h.width), k, panel.qt, s);
  alignas(64) float alpha[kLanes];
  alignas(64) float scores[kKeyBlock * kPanel];  // of the careful path
  for (int64_t c = 0; c < panel.columns; ++c) {
    const KeyRun run = runs.column[c];
    if (run.begin == run.end) continue;
    const int64_t at = c * kLanes;
    const SoftmaxLanes lanes{panel.max + at, panel.sum + at, panel.slope + at, alpha};
    const bool observed = panel.observer.any(), dropped = h.drop_below != 0;
    const float factor = prepare_scores(h, panel, view, c, block, s + at);
    if (careful) keep_scores(s + at, run, scores + at);
    const auto softmax = observed ? (dropped ? softmax_pairs<true, false> : softmax_pairs<true, true>)
                                  : (dropped ? softmax_pairs<false, false> : softmax_pairs<false, true>);
    const bool moved = softmax(s + at, p + at, run, factor, lanes);
    if (dropped) {
      for_kept(h, panel.column[c], block, run, [s, at](int64_t j, auto kept) HWY_ATTR {
        const F d;
        float* weight = s + at + j * kPanel;
        hn::Store(hn::IfThenElseZero(kept, hn::Load(d, weight)), d, weight);
      });
      round_column(s + at, run, p + at);
    }
    if (moved && !panel.fresh) rescale_column(panel.ot + at, h.value_width, alpha);
  }
  if (careful) return add_seen_values(h, panel, runs, v, p, scores);
  add_runs<Products>(runs, h.value_width, v, kPairBlock, p, panel.ot, panel.fresh);
}

void begin_panel(const PairForwardTask& task, PairPanel& panel, int64_t row, int64_t rows, float* scratch) {
  const F d;
  const AttentionHead& h = task.head;
  panel.columns = rows > kLanes ? 2 : 1;
  for (int64_t c = 0; c < panel.columns; ++c) {
    panel.column[c] = {row + c * kLanes, std::min(kLanes, rows - c * kLanes)};
    pack_pair_column(task.q + panel.column[c].row * task.q_stride, task.q_stride, panel.column[c].rows,
                     h.width, scratch, panel.qt + c * kLanes, kPanel);
    if (h.scale < 0) negate_pairs(panel.qt + c * kLanes, pairs_of(h.width));
    // A sink is a key without a value, seen first.
    hn::Store(hn::Set(d, h.sink != nullptr ? in_log2_units(*h.sink) : kFloor), d, panel.max + c * kLanes);
    hn::Store(hn::Set(d, h.sink != nullptr ? 1.0f : 0.0f), d, panel.sum + c * kLanes);
    hn::Store(hn::Zero(d), d, panel.slope + c * kLanes);
  }
}

// Whether the output is finite. `scratch` holds kLanes rows of the output.
bool end_panel(const PairForwardTask& task, PairPanel& panel, float* scratch) {
  const F d;
  const AttentionHead& h = task.head;
  bool finite = true;
  if (panel.fresh) zero_floats(panel.ot, h.value_width * kPanel);  // no key was seen
  for (int64_t c = 0; c < panel.columns; ++c) {
    const QueryColumn q = panel.column[c];
    const V sum = hn::Load(d, panel.sum + c * kLanes), max = hn::Load(d, panel.max + c * kLanes);
    const auto empty = hn::Eq(sum, hn::Zero(d));
    const V factor = hn::IfThenZeroElse(empty, hn::Div(hn::Set(d, h.keep_scale), sum));
    const bool wide = task.out_wide != nullptr;
    float* rows = wide ? task.out_wide + q.row * task.out_stride : scratch;
    const int64_t ld = wide ? task.out_stride : h.value_width;
    finite &= unpack_column<false>(panel.ot + c * kLanes, factor, q.rows, h.value_width, rows, ld);
    if (!wide)
      round_rows(scratch, ld, q.rows, h.value_width, task.out + q.row * task.out_stride, task.out_stride);
    store_softmax_rows(max, sum, q.rows, q.row * task.row_stride, task.row_stride, task.lse, task.softmax);
    if (panel.observer.any()) {
      panel.observer.finish(task.statistics, task.row_stride, q.row, q.rows, c, panel.max + c * kLanes,
                            panel.sum + c * kLanes, panel.slope + c * kLanes);
    }
  }
  return finite;
}

// What panels share: a tile of scores, its weights, and room to pack in.
struct Shared {
  float *s, *p, *scratch;
};

int64_t panel_floats(int64_t width, int64_t value_width, int64_t top_k) {
  return kPanel * (pairs_of(width) + value_width + 3) + RowObserver::floats(top_k, top_k);
}

// Does a panel again, carefully.
template <class Products>
void redo_panel(const PairForwardTask& task, PairPanel& panel, const Shared& shared) {
  const AttentionHead& h = task.head;
  const int64_t row = panel.column[0].row, rows = panel.column[0].rows + panel.column[1].rows;
  panel.fresh = true;
  panel.observer = RowObserver(task.statistics, h.k_length, panel.slope + kPanel);
  begin_panel(task, panel, row, rows, shared.scratch);
  const int64_t end = end_key(h, row + rows - 1);
  const int64_t first = first_key(h, row) / kKeyBlock * kKeyBlock;
  for (int64_t block = next_block(h, row, row + rows, first); block < end;
       block = next_block(h, row, row + rows, block + kKeyBlock)) {
    panel_block<Products>(
        h, panel, block, std::min(block + kKeyBlock, h.k_length), task.keys + block * pairs_of(h.width),
        task.values + block / kKeyBlock * h.value_width * kPairBlock, true, shared.s, shared.p);
  }
  end_panel(task, panel, shared.scratch);
}

}  // namespace

int64_t pair_forward_workspace(int64_t width, int64_t value_width, int64_t top_k) {
  return kChunkPanels * panel_floats(width, value_width, top_k) + (kKeyBlock + kPairBlock) * kPanel +
         std::max(round_up(kLanes * std::max(pairs_of(width), value_width), 16), kPairBlock * value_width);
}

int64_t packed_pair_keys(int64_t length, int64_t width) {
  return length * pairs_of(width);
}
int64_t packed_pair_values(int64_t length, int64_t width) {
  return round_up(length, kKeyBlock) / 2 * width;
}

void pack_pair_keys(const PairPackTask& t, float*) {
  copy_pairs(t.x + t.begin * t.stride, t.stride, t.end - t.begin, t.width,
             t.packed + t.begin * pairs_of(t.width), pairs_of(t.width));
}

void pack_pair_values(const PairPackTask& t, float* workspace) {
  for (int64_t block = t.begin; block < t.end; block += kKeyBlock) {
    transpose_key_block(t.x + block * t.stride, t.stride, std::min(kKeyBlock, t.length - block), t.width,
                        workspace, t.packed + block / kKeyBlock * t.width * kPairBlock);
  }
}

template <class Products>
void pair_forward(const PairForwardTask& task, float* workspace) {
  Products::begin();
  const AttentionHead& h = task.head;
  Shared shared{workspace, workspace + kKeyBlock * kPanel, nullptr};
  workspace = shared.p + kPairBlock * kPanel;
  PairPanel panels[kChunkPanels];
  int64_t count = 0;
  for (int64_t row = task.q_begin; row < task.q_end; row += kPanel) {
    PairPanel& panel = panels[count++];
    panel.ot = workspace;
    panel.max = panel.ot + kPanel * h.value_width;
    panel.sum = panel.max + kPanel;
    panel.slope = panel.sum + kPanel;
    panel.observer = RowObserver(task.statistics, h.k_length, panel.slope + kPanel);
    panel.qt = panel.slope + kPanel + RowObserver::floats(task.statistics.top_k, h.k_length);
    workspace = panel.qt + kPanel * pairs_of(h.width);
  }
  shared.scratch = workspace;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t row = task.q_begin + p * kPanel;
    begin_panel(task, panels[p], row, std::min(kPanel, task.q_end - row), shared.scratch);
  }
  // Key blocks begin at multiples of kKeyBlock, whatever the chunk.
  const int64_t begin = first_key(h, task.q_begin) / kKeyBlock * kKeyBlock;
  const int64_t end = end_key(h, task.q_end - 1);
  for (int64_t block = next_block(h, task.q_begin, task.q_end, begin); block < end;
       block = next_block(h, task.q_begin, task.q_end, block + kKeyBlock)) {
    const float* k = task.keys + block * pairs_of(h.width);
    const float* v = task.values + block / kKeyBlock * h.value_width * kPairBlock;
    for (int64_t p = 0; p < count; ++p) {
      panel_block<Products>(h, panels[p], block, std::min(block + kKeyBlock, h.k_length), k, v, false,
                            shared.s, shared.p);
    }
  }
  const bool masked = h.left < h.q_length + h.k_length || h.right < h.q_length + h.k_length ||
                      h.mask != nullptr || h.tile_rows != nullptr || h.bias != nullptr;
  for (int64_t p = 0; p < count; ++p) {
    if (!end_panel(task, panels[p], shared.scratch) && masked) redo_panel<Products>(task, panels[p], shared);
  }
  Products::end();
}

int64_t pair_query_chunk() {
  return kChunkPanels * kPanel;
}
int64_t pair_lanes() {
  return kLanes;
}

void pair_forward_software(const PairForwardTask& task, float* workspace) {
  pair_forward<RegisterProducts<SoftwarePairs>>(task, workspace);
}
void pair_forward_software_tiles(const PairForwardTask& task, float* workspace) {
  pair_forward<TileProducts<SoftwareTiles>>(task, workspace);
}
#if HWY_TARGET == HWY_AVX3
void pair_forward_instruction(const PairForwardTask& task, float* workspace) {
  pair_forward<RegisterProducts<InstructionPairs>>(task, workspace);
}
void pair_forward_amx(const PairForwardTask& task, float* workspace) {
  pair_forward<TileProducts<AmxTiles>>(task, workspace);
}
#endif

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/attention_select.hpp"
namespace fovea::kernels {

void fill_pair_forward(Isa isa, PairEngine engine, PairKernels& kernels) {
  kernels.forward = FOVEA_ATTENTION_PICK(isa, pair_forward_software);
  kernels.forward_workspace = FOVEA_ATTENTION_PICK(isa, pair_forward_workspace);
  kernels.pack_keys = FOVEA_ATTENTION_PICK(isa, pack_pair_keys);
  kernels.pack_values = FOVEA_ATTENTION_PICK(isa, pack_pair_values);
  kernels.packed_keys = FOVEA_ATTENTION_PICK(isa, packed_pair_keys);
  kernels.packed_values = FOVEA_ATTENTION_PICK(isa, packed_pair_values);
  kernels.query_chunk = FOVEA_ATTENTION_PICK(isa, pair_query_chunk)();
  kernels.lanes = FOVEA_ATTENTION_PICK(isa, pair_lanes)();
  if (engine == PairEngine::kSoftwareTiles) {
    kernels.forward = FOVEA_ATTENTION_PICK(isa, pair_forward_software_tiles);
  }
#if defined(__x86_64__)
  if (engine == PairEngine::kInstruction) kernels.forward = &N_AVX3::pair_forward_instruction;
  if (engine == PairEngine::kAmx) kernels.forward = &N_AVX3::pair_forward_amx;
#endif
}

}  // namespace fovea::kernels
#endif
