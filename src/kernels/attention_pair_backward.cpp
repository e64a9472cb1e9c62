// Backward on bf16 pairs, from the saved log-sum-exp: for each block of queries and each block of keys
//   P = 2^(K·Qᵀ − max − log_sum),  dP = V·dOᵀ,  dS = P∘(dP − δ)          sums in float32
//   dV += P·dO,  dK += dS·Q,  dQᵀ += Kᵀ·dS                     P and dS in bf16, sums in float32
// P and dS lie transposed (lanes are queries): rows of them are pairs of queries, the left operands of dV and
// dK; two rows together are pairs of keys, the right operand of dQᵀ.
#include "kernels/attention_pair_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_pair_backward.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_bias_gradient-inl.hpp"
#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_pair_gradient-inl.hpp"
#include "kernels/attention_pair_softmax-inl.hpp"
#include "kernels/attention_pair_tiles-inl.hpp"
#include "kernels/attention_spoilt-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

struct Workspace {
  float *k, *v, *kt;  // pairs: [keys][pairs of width], [keys][pairs of value width], key blocks transposed
  float *dk, *dv;     // [keys][padded width]
  float *qt, *dot, *dqt;                   // per panel [pairs][kPanel], dqt [width][kPanel]
  float *q, *d_o;                          // [kBlockPairs][padded width] pairs of queries
  float *s, *dp, *factor;                  // [kKeyBlock][kPanel]
  float *p_rows, *ds_rows, *ds;            // [kKeyBlock][kBlockPairs] twice, [kPairBlock][kPanel]
  float *max, *log_sum, *delta, *scratch;  // [kBlock] each but the last
  Spoilt queries, keys;                    // [kBlock], [keys]
  float* spoilt;                           // [kKeyBlock][kPanel]: what weigh_seen adds to dS
};

int64_t pairs_of(int64_t width) {
  return (width + 1) / 2;
}

int64_t lay_out(int64_t width, int64_t value_width, int64_t keys, float* base, Workspace* w) {
  const int64_t padded = round_up(width, kPanel), padded_value = round_up(value_width, kPanel);
  int64_t used = 0;
  const auto take = [&](float*& pointer, int64_t floats) {
    pointer = base == nullptr ? nullptr : base + used;
    used += round_up(floats, 16);
  };
  Workspace unused;
  if (w == nullptr) w = &unused;
  take(w->k, keys * pairs_of(width));
  take(w->v, keys * pairs_of(value_width));
  take(w->kt, round_up(keys, kKeyBlock) / 2 * width);
  take(w->dk, keys * padded);
  take(w->dv, keys * padded_value);
  take(w->qt, kBlock * pairs_of(width));
  take(w->dot, kBlock * pairs_of(value_width));
  take(w->dqt, kBlock * width);
  take(w->q, kBlockPairs * padded);
  take(w->d_o, kBlockPairs * padded_value);
  take(w->s, kKeyBlock * kPanel);
  take(w->dp, kKeyBlock * kPanel);
  take(w->factor, kKeyBlock * kPanel);
  take(w->p_rows, kKeyBlock * kBlockPairs);
  take(w->ds_rows, kKeyBlock * kBlockPairs);
  take(w->ds, kPairBlock * kPanel);
  take(w->max, kBlock);
  take(w->log_sum, kBlock);
  take(w->delta, kBlock);
  take(w->scratch, std::max(kLanes * pairs_of(std::max(width, value_width)), kPairBlock * width));
  take(w->queries.weight, kBlock);
  take(w->queries.score, kBlock);
  take(w->keys.weight, keys);
  take(w->keys.score, keys);
  take(w->spoilt, kKeyBlock * kPanel);
  return used;
}

// One query head and one block of its queries.
struct QueryBlock {
  QueryColumn column[kColumns];
  int64_t columns = 0, rows = 0;
  bool spoilt = false;       // a query holds NaN or ∞
  bool fresh[kPanels] = {};  // nothing in dqt yet
};

void place_block(int64_t row, int64_t end, QueryBlock& block) {
  block.rows = std::min(kBlock, end - row);
  block.columns = (block.rows + kLanes - 1) / kLanes;
  std::fill(block.fresh, block.fresh + kPanels, true);
  for (int64_t c = 0; c < block.columns; ++c)
    block.column[c] = {row + c * kLanes, std::min(kLanes, block.rows - c * kLanes)};
}

// Packs the block's queries and output gradients both ways, and fetches what the softmax left and δ. `hides`:
// some key is out of some query's sight.
void begin_block(const PairBackwardTask& task, const AttentionHead& h, int64_t head, int64_t row, bool hides,
                 const Workspace& w, QueryBlock& block) {
  const BFloat16* q = task.q + head * task.q_head_stride + row * task.q_stride;
  const BFloat16* dout = task.dout + head * task.dout_head_stride + row * task.dout_stride;
  const int64_t padded = round_up(h.width, kPanel), padded_value = round_up(h.value_width, kPanel);
  for (int64_t c = 0; c < block.columns; ++c) {
    const int64_t rows = block.column[c].rows, panel = c / 2 * kPanel, lane = c % 2 * kLanes;
    float* qt = w.qt + panel * pairs_of(h.width) + lane;
    pack_pair_column(q + c * kLanes * task.q_stride, task.q_stride, rows, h.width, w.scratch, qt, kPanel);
    if (h.scale < 0) negate_pairs(qt, pairs_of(h.width));
    pack_pair_column(dout + c * kLanes * task.dout_stride, task.dout_stride, rows, h.value_width, w.scratch,
                     w.dot + panel * pairs_of(h.value_width) + lane, kPanel);
  }
  const auto pair_rows = [&](const BFloat16* x, int64_t stride, int64_t width, int64_t ld, float* to) {
    for (int64_t i = 0; i < block.columns * kLanes; i += 2) {
      float* pairs = to + i / 2 * ld;
      std::fill(pairs, pairs + ld, 0.0f);
      if (i < block.rows) {
        interleave_rows(x + i * stride, i + 1 < block.rows ? x + (i + 1) * stride : nullptr, width, pairs);
      }
    }
  };
  pair_rows(q, task.q_stride, h.width, padded, w.q);
  pair_rows(dout, task.dout_stride, h.value_width, padded_value, w.d_o);
  for (int64_t i = 0; i < block.columns * kLanes; ++i) {
    const bool exists = i < block.rows;
    const int64_t at = (row + i) * task.row_stride + head;
    const SoftmaxRow softmax = exists ? task.softmax[at] : SoftmaxRow();
    w.max[i] = softmax.empty() ? kNoKeys : softmax.max;
    w.log_sum[i] = softmax.log_sum;
    w.delta[i] = exists ? task.delta[at] : 0.0f;
  }
  if (!hides) return;
  zero_floats(w.queries.weight, kBlock);
  zero_floats(w.queries.score, kBlock);
  if (sound_statistics(w.max, w.log_sum, w.delta, block.rows) &&
      (h.sink == nullptr || finite_rows(q, task.q_stride, block.rows, h.width)))
    return;
  block.spoilt =
      mark_queries(q, task.q_stride, h.width, dout, task.dout_stride, h.value_width, block.rows,
                   {w.max, w.log_sum, w.delta}, w.queries, [&](int64_t i) {
                     const auto clear = [i](int64_t width, int64_t ld, float* columns, float* pairs) {
                       for (int64_t p = 0; p < pairs_of(width); ++p)
                         columns[i / kPanel * kPanel * pairs_of(width) + p * kPanel + i % kPanel] = 0.0f;
                       auto* halves = reinterpret_cast<BFloat16*>(pairs + i / 2 * ld) + i % 2;
                       for (int64_t c = 0; c < width; ++c) halves[2 * c] = BFloat16();
                     };
                     clear(h.width, padded, w.qt, w.q);
                     clear(h.value_width, padded_value, w.dot, w.d_o);
                   });
}

// to[key][width] += X[key][query pairs] · rows[query pairs][width], for the columns that see each key; width
// padded to whole panels.
template <class Products>
void add_by_key(const QueryBlock& block, const KeyRun* run, int64_t keys, const float* x, const float* rows,
                int64_t width, float* to) {
  for (int64_t j = 0; j < keys;) {
    // Keys [j, end) are seen by the same columns [from, until).
    int64_t end = keys, from = block.columns, until = 0;
    for (int64_t c = 0; c < block.columns; ++c) {
      if (run[c].begin <= j && j < run[c].end) {
        from = std::min(from, c);
        until = c + 1;
      }
      for (const int64_t edge : {run[c].begin, run[c].end}) {
        if (edge > j) end = std::min(end, edge);
      }
    }
    if (from < until) {
      const int64_t first = from * kLanes / 2, depth = (until - from) * kLanes / 2;
      for (int64_t c = 0; c < width; c += kPanel) {
        Products::template product<2, true>(end - j, depth, x + j * kBlockPairs + first, kBlockPairs,
                                            rows + first * width + c, width, to + j * width + c, width);
      }
    }
    j = end;
  }
}

// P and dS of column i of a panel, which is column c of the block, from S and dP.
void column_gradients(const PairBackwardTask& task, const AttentionHead& h, int64_t head, QueryColumn q,
                      int64_t first, const PanelView& view, int64_t i, int64_t c, bool careful,
                      const float* bias, float* sums, const Workspace& w) {
  const float unit = std::abs(h.scale) * kLog2E;
  const KeyRun run = view.runs.column[i];
  const int64_t lane = i * kLanes;
  float *s = w.s + lane, *dp = w.dp + lane;
  const QueryStatistics of{w.max + c * kLanes, w.log_sum + c * kLanes, w.delta + c * kLanes};
  const GradientPlaces to{w.p_rows + c * kLanes / 2, w.ds_rows + c * kLanes / 2, w.ds + lane};
  if (modifies(h) || h.drop_below != 0 || careful) {
    scale_scores(s, run, unit);
    modify_column(s, kPanel, view, i, h, q, first, w.factor + lane, bias == nullptr ? nullptr : bias + lane);
    if (careful) {
      const int64_t at = first - task.k_begin;
      weigh_seen<kPanel>(s, run, q.rows, of.max, of.log_sum,
                         {w.queries.weight + c * kLanes, w.queries.score + c * kLanes},
                         {w.keys.weight + at, w.keys.score + at}, w.spoilt + lane,
                         [](V x) HWY_ATTR { return coarse_exp2(x); });
    } else {
      weigh_column(s, run, of);
    }
    score_gradient_column(h, q, first, s, dp, run, of.delta);
    if (careful) spoil_scores<kPanel>(dp, run, w.spoilt + lane);
    if (task.ddistance != nullptr) {
      add_distance_column<kPanel>(
          dp, run,
          task.ddistance + head * task.ddistance_head_stride + h.k_length - h.q_length + q.row - first);
    }
    if (task.dbias != nullptr) {
      add_bias_column<kPanel>(dp, run, q, first, task.dbias + head * task.dbias_head_stride,
                              task.dbias_query_stride, task.dbias_key_stride);
    }
    if (sums != nullptr) sum_and_scale_column<kPanel>(dp, run, 1.0f, sums + lane);
    return round_gradients(s, dp, run, h.softcap > 0.0f ? w.factor + lane : nullptr, to);
  }
  float factor = unit;
  const bool edge = is_edge(h, q, run, first);
  if ((edge || view.hides[i]) && unit < kLeastMaskUnit) {
    scale_scores(s, run, unit);
    factor = 1.0f;
  }
  if (edge) mask_column(s, kPanel, run, h, q, first);
  if (view.hides[i]) hide_column(s, kPanel, run, view.words[i]);
  gradient_column(s, dp, run, factor, of, to);
}

template <class Products>
void block_pair(const PairBackwardTask& task, const AttentionHead& h, int64_t head, QueryBlock& block,
                int64_t first, int64_t end, bool careful, const Workspace& w) {
  const int64_t padded = round_up(h.width, kPanel), padded_value = round_up(h.value_width, kPanel);
  const int64_t at = first - task.k_begin;  // of this block within the task's keys
  KeyRun run[kColumns] = {};
  bool any = false;
  for (int64_t panel = 0; panel * 2 < block.columns; ++panel) {
    const int64_t columns = std::min<int64_t>(2, block.columns - panel * 2);
    PanelView view;
    view_panel(h, block.column + panel * 2, columns, first, end, view);
    const PanelRuns& runs = view.runs;
    score_runs<Products>(runs, pairs_of(h.width), w.k + at * pairs_of(h.width),
                         w.qt + panel * kPanel * pairs_of(h.width), w.s);
    score_runs<Products>(runs, pairs_of(h.value_width), w.v + at * pairs_of(h.value_width),
                         w.dot + panel * kPanel * pairs_of(h.value_width), w.dp);
    const int64_t row = block.column[panel * 2].row;
    const float* bias = nullptr;
    float* sums = nullptr;
    if (runs.column[0].end + runs.column[1].end > 0) {
      const int64_t rows = std::min(kPanel, block.rows - panel * kPanel);
      if (task.bias_tiles.memory != nullptr)
        bias = bias_tile(task.bias_tiles, h, row, rows, first, end - first);
      if (task.bias_sums.memory != nullptr)
        sums = sums_tile(task.bias_sums, head * task.bias_sums_head_stride, row, first);
    }
    bool seen = false;
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t c = panel * 2 + i;
      run[c] = runs.column[i];
      if (run[c].begin == run[c].end) continue;
      seen = true;
      column_gradients(task, h, head, block.column[c], first, view, i, c, careful, bias, sums, w);
    }
    any = any || seen;
    if (task.dq != nullptr && seen) {
      add_runs<Products>(runs, h.width, w.kt + at / kKeyBlock * h.width * kPairBlock, kPairBlock, w.ds,
                         w.dqt + panel * h.width * kPanel, block.fresh[panel]);
    }
  }
  if (!any) return;
  if (h.mask != nullptr || h.tile_rows != nullptr) {
    for (int64_t c = 0; c < block.columns; ++c) {
      zero_outside(w.p_rows + c * kLanes / 2, run[c], end - first);
      zero_outside(w.ds_rows + c * kLanes / 2, run[c], end - first);
    }
  }
  if (task.dv != nullptr || task.dv_wide != nullptr) {
    add_by_key<Products>(block, run, end - first, w.p_rows, w.d_o, padded_value, w.dv + at * padded_value);
  }
  if (task.dk != nullptr || task.dk_wide != nullptr) {
    add_by_key<Products>(block, run, end - first, w.ds_rows, w.q, padded, w.dk + at * padded);
  }
}

void end_block(const PairBackwardTask& task, const AttentionHead& h, int64_t head, QueryBlock& block,
               const Workspace& w) {
  if (task.dq == nullptr) return;
  const F d;
  const V scale = hn::Set(d, h.scale);
  for (int64_t c = 0; c < block.columns; ++c) {
    if (block.fresh[c / 2]) zero_floats(w.dqt + c / 2 * h.width * kPanel, h.width * kPanel);
    block.fresh[c / 2] = false;
    const float* packed = w.dqt + c / 2 * h.width * kPanel + c % 2 * kLanes;
    float* dq = task.dq + head * task.dq_head_stride + block.column[c].row * task.dq_stride;
    if (task.add_dq) {
      unpack_column<true>(packed, scale, block.column[c].rows, h.width, dq, task.dq_stride);
    } else {
      unpack_column<false>(packed, scale, block.column[c].rows, h.width, dq, task.dq_stride);
    }
  }
}

// Sums to their place, scaled; in place first, for the rounding reads whole rows.
void write_rows(float* from, int64_t ld, int64_t rows, int64_t width, float scale, BFloat16* half,
                float* wide, int64_t stride, bool add) {
  if (half == nullptr && wide == nullptr) return;
  const F d;
  for (int64_t i = 0; i < rows * ld; i += kLanes) {
    hn::Store(hn::Mul(hn::Load(d, from + i), hn::Set(d, scale)), d, from + i);
  }
  if (half != nullptr) return round_rows(from, ld, rows, width, half, stride);
  for (int64_t i = 0; i < rows; ++i) {
    if (add) {
      for (int64_t c = 0; c < width; ++c) wide[i * stride + c] += from[i * ld + c];
    } else {
      std::memcpy(wide + i * stride, from + i * ld, static_cast<size_t>(width) * sizeof(float));
    }
  }
}

}  // namespace

int64_t pair_backward_workspace(int64_t width, int64_t value_width, int64_t keys) {
  return lay_out(width, value_width, keys, nullptr, nullptr);
}

template <class Products>
void pair_backward(const PairBackwardTask& task, float* workspace) {
  Products::begin();
  const AttentionHead& all = task.heads[0];
  const int64_t keys = task.k_end - task.k_begin;
  const int64_t padded = round_up(all.width, kPanel), padded_value = round_up(all.value_width, kPanel);
  Workspace w;
  lay_out(all.width, all.value_width, keys, workspace, &w);
  zero_floats(w.dk, keys * padded);
  zero_floats(w.dv, keys * padded_value);
  copy_pairs(task.k + task.k_begin * task.k_stride, task.k_stride, keys, all.width, w.k, pairs_of(all.width));
  copy_pairs(task.v + task.k_begin * task.v_stride, task.v_stride, keys, all.value_width, w.v,
             pairs_of(all.value_width));
  zero_floats(w.keys.weight, keys);
  zero_floats(w.keys.score, keys);
  auto* k_copy = reinterpret_cast<BFloat16*>(w.k);
  auto* v_copy = reinterpret_cast<BFloat16*>(w.v);
  const int64_t ldk = 2 * pairs_of(all.width), ldv = 2 * pairs_of(all.value_width);
  const bool hides = hides_pairs(all);
  const bool finite = !hides || (finite_rows(k_copy, ldk, keys, all.width) &&
                                 finite_rows(v_copy, ldv, keys, all.value_width));
  if (!finite) mark_keys(k_copy, ldk, all.width, v_copy, ldv, all.value_width, keys, w.keys);
  for (int64_t block = 0; block < keys && task.dq != nullptr; block += kKeyBlock) {
    transpose_key_block(k_copy + block * ldk, ldk, std::min(kKeyBlock, keys - block), all.width, w.scratch,
                        w.kt + block / kKeyBlock * all.width * kPairBlock);
  }
  for (int64_t head = 0; head < task.group; ++head) {
    const AttentionHead& h = task.heads[head];
    for (int64_t row = task.q_begin; row < task.q_end; row += kBlock) {
      QueryBlock block;
      place_block(row, task.q_end, block);
      const int64_t least = std::max(first_key(h, row) / kKeyBlock * kKeyBlock, task.k_begin);
      const int64_t end = std::min(end_key(h, row + block.rows - 1), task.k_end);
      const int64_t begin = next_block(h, row, row + block.rows, least);
      if (begin < end) begin_block(task, h, head, row, hides, w, block);
      for (int64_t first = begin; first < end;
           first = next_block(h, row, row + block.rows, first + kKeyBlock)) {
        block_pair<Products>(task, h, head, block, first, std::min(first + kKeyBlock, task.k_end),
                             block.spoilt || !finite, w);
      }
      end_block(task, h, head, block, w);
    }
  }
  write_rows(w.dk, padded, keys, all.width, all.scale, task.dk, task.dk_wide, task.dk_stride, task.add_keys);
  write_rows(w.dv, padded_value, keys, all.value_width, 1.0f, task.dv, task.dv_wide, task.dv_stride,
             task.add_keys);
  Products::end();
}

void pair_backward_software(const PairBackwardTask& task, float* workspace) {
  pair_backward<RegisterProducts<SoftwarePairs>>(task, workspace);
}
void pair_backward_software_tiles(const PairBackwardTask& task, float* workspace) {
  pair_backward<TileProducts<SoftwareTiles>>(task, workspace);
}
#if HWY_TARGET == HWY_AVX3
void pair_backward_instruction(const PairBackwardTask& task, float* workspace) {
  pair_backward<RegisterProducts<InstructionPairs>>(task, workspace);
}
void pair_backward_amx(const PairBackwardTask& task, float* workspace) {
  pair_backward<TileProducts<AmxTiles>>(task, workspace);
}
#endif

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/attention_select.hpp"
namespace fovea::kernels {

void fill_pair_backward(Isa isa, PairEngine engine, PairKernels& kernels) {
  kernels.backward = FOVEA_ATTENTION_PICK(isa, pair_backward_software);
  kernels.backward_workspace = FOVEA_ATTENTION_PICK(isa, pair_backward_workspace);
  if (engine == PairEngine::kSoftwareTiles) {
    kernels.backward = FOVEA_ATTENTION_PICK(isa, pair_backward_software_tiles);
  }
#if defined(__x86_64__)
  if (engine == PairEngine::kInstruction) kernels.backward = &N_AVX3::pair_backward_instruction;
  if (engine == PairEngine::kAmx) kernels.backward = &N_AVX3::pair_backward_amx;
#endif
}

}  // namespace fovea::kernels
#endif
