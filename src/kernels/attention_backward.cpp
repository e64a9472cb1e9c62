// Backward, from the saved maximum and log-sum of each row: for each block of queries and each block of keys
//   P = 2^(K·Qᵀ − max − log_sum),  dP = V·dOᵀ,  dS = P∘(dP − δ),  δ = rowsum(dO∘O) − dlse
//   dV += P·dO,  dK += dS·Q,  dQᵀ += Kᵀ·dS
// with P and dS held transposed (lanes are queries), so that all five products take their operands as they
// lie.
#include "kernels/attention_kernels.hpp"
#include "kernels/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_backward.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_backward_rows-inl.hpp"
#include "kernels/attention_bias_gradient-inl.hpp"
#include "kernels/attention_differences-inl.hpp"
#include "kernels/attention_gradient_columns-inl.hpp"
#include "kernels/attention_modify-inl.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_spoilt-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {
namespace {

// One query head and one block of its queries.
struct QueryBlock {
  QueryColumn column[kColumns];
  int64_t columns = 0, rows = 0;
  bool spoilt = false;                                    // a query holds NaN or ∞
  bool fresh[kPanels][2] = {{true, true}, {true, true}};  // nothing in the column of dqt yet
  const float *q = nullptr, *d_o = nullptr;               // as rows, readable in whole vectors
  int64_t ldq = 0, ldo = 0;
};

// Rows as an operand of products by key: used where they lie if they are whole vectors and read only once.
void borrow_rows(const float* x, int64_t stride, int64_t rows, int64_t width, bool once, float* copy,
                 const float*& used, int64_t& ld) {
  used = x;
  ld = stride;
  if (width % kLanes == 0 && once) return;
  used = copy;
  ld = round_up(width, kLanes);
  copy_rows(x, stride, rows, width, copy, ld);
}

void place_block(const AttentionHead& h, int64_t row, QueryBlock& block) {
  block.rows = std::min(kBlock, h.q_length - row);
  block.columns = (block.rows + kLanes - 1) / kLanes;
  for (int64_t c = 0; c < block.columns; ++c)
    block.column[c] = {row + c * kLanes, std::min(kLanes, block.rows - c * kLanes)};
}

// Packs the block's queries and output gradients both ways, and fetches what the softmax left and δ. `hides`:
// some key is out of some query's sight.
void begin_block(const AttentionBackwardTask& task, const AttentionHead& h, int64_t head, int64_t row,
                 bool hides, const BackwardWorkspace& w, QueryBlock& block) {
  const float* out = task.out + head * task.out_head_stride + row * task.out_stride;
  const float* dout = task.dout + head * task.dout_head_stride + row * task.dout_stride;
  for (int64_t c = 0; c < block.columns; ++c) {
    const QueryColumn q = block.column[c];
    const int64_t panel = c / 2, lane = c % 2 * kLanes;
    const float* column_dout = dout + c * kLanes * task.dout_stride;
    pack_column(h.q + q.row * h.q_stride, h.q_stride, q.rows, h.width, packed_scale(h),
                w.qt + panel * h.width * kPanel + lane);
    pack_column(column_dout, task.dout_stride, q.rows, h.value_width, h.keep_scale,
                w.dot + panel * h.value_width * kPanel + lane);
    delta_column(out + c * kLanes * task.out_stride, task.out_stride, column_dout, task.dout_stride, q.rows,
                 h.value_width, w.delta + c * kLanes);
  }
  for (int64_t i = 0; i < block.columns * kLanes; ++i) {
    const int64_t at = (row + i) * task.row_stride + head;
    const SoftmaxRow softmax = i < block.rows ? task.softmax[at] : SoftmaxRow();
    w.max[i] = softmax.empty() ? kNoKeys : softmax.max;
    w.log_sum[i] = softmax.log_sum;
    if (task.dlse != nullptr && i < block.rows) w.delta[i] -= task.dlse[at];
  }
  const float* queries = h.q + row * h.q_stride;
  const bool sound = !hides || (sound_statistics(w.max, w.log_sum, w.delta, block.rows) &&
                                (h.sink == nullptr || finite_rows(queries, h.q_stride, block.rows, h.width)));
  const bool once = task.k_end - task.k_begin <= kKeyBlock && sound;
  borrow_rows(queries, h.q_stride, block.rows, h.width, once, w.q, block.q, block.ldq);
  borrow_rows(dout, task.dout_stride, block.rows, h.value_width, once, w.d_o, block.d_o, block.ldo);
  if (!hides) return;
  zero_floats(w.queries.weight, kBlock);
  zero_floats(w.queries.score, kBlock);
  if (sound) return;
  block.spoilt = mark_queries(queries, h.q_stride, h.width, dout, task.dout_stride, h.value_width, block.rows,
                              {w.max, w.log_sum, w.delta}, w.queries, [&](int64_t i) {
                                std::fill_n(w.q + i * block.ldq, block.ldq, 0.0f);
                                std::fill_n(w.d_o + i * block.ldo, block.ldo, 0.0f);
                                const int64_t lane = i % kPanel;
                                for (int64_t c = 0; c < h.width; ++c)
                                  w.qt[i / kPanel * h.width * kPanel + c * kPanel + lane] = 0.0f;
                                for (int64_t c = 0; c < h.value_width; ++c)
                                  w.dot[i / kPanel * h.value_width * kPanel + c * kPanel + lane] = 0.0f;
                              });
}

// Calls use(j, end, first, depth) for the keys [j, end) that the queries [first, first + depth) of a block
// see, depth 0 for those that no column sees.
template <class Use>
HWY_INLINE void for_seen_keys(const QueryBlock& block, const KeyRun* run, int64_t keys, const Use& use) {
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
    const int64_t first = from * kLanes;
    use(j, end, first, from < until ? std::min(until * kLanes, block.rows) - first : 0);
    j = end;
  }
}

// to[key][width] (+)= X[key][queries] · rows[queries][width], for the columns that see each key; width in
// whole vectors.
template <bool kAccumulate>
void add_by_key(const QueryBlock& block, const KeyRun* run, int64_t keys, const float* x, const float* rows,
                int64_t ld, int64_t width, float* to, int64_t ld_to, Ahead& ahead) {
  const F d;
  for_seen_keys(block, run, keys, [&](int64_t j, int64_t end, int64_t first, int64_t depth) HWY_ATTR {
    if (depth > 0) {
      int64_t c = 0;
      for (; c + kPanel <= width; c += kPanel) {
        rows_product<2, kAccumulate, MultiplyAdd>(end - j, depth, x + j * kBlock + first, kBlock,
                                                  rows + first * ld + c, ld, to + j * ld_to + c, ld_to,
                                                  ahead);
      }
      if (c < width) {
        rows_product<1, kAccumulate>(end - j, depth, x + j * kBlock + first, kBlock, rows + first * ld + c,
                                     ld, to + j * ld_to + c, ld_to);
      }
    } else if (!kAccumulate) {
      for (int64_t row = j; row < end; ++row) {
        for (int64_t c = 0; c < width; c += kLanes) hn::StoreU(hn::Zero(d), d, to + row * ld_to + c);
      }
    }
  });
}

// dk[key][width] += Σ_i dS[key][i]·(q_i − k[key]), likewise.
void add_differences(const QueryBlock& block, const KeyRun* run, int64_t count, const float* ds,
                     const KeyRows& keys, int64_t width) {
  for_seen_keys(block, run, count, [&](int64_t j, int64_t end, int64_t first, int64_t depth) HWY_ATTR {
    if (depth == 0) return;
    difference_rows_product(end - j, depth, ds + j * kBlock + first, kBlock, block.q + first * block.ldq,
                            block.ldq, keys.k + j * keys.ldk, keys.ldk, keys.dk + j * keys.ld_dk, keys.ld_dk,
                            width);
  });
}

void block_pair(const AttentionBackwardTask& task, const AttentionHead& h, int64_t head, QueryBlock& block,
                int64_t first, int64_t end, const KeyRows& keys, const BackwardWorkspace& w, Ahead& ahead) {
  const int64_t padded = round_up(h.width, kLanes), padded_value = round_up(h.value_width, kLanes);
  const bool careful = block.spoilt || !keys.finite;
  KeyRun run[kColumns] = {};
  bool any = false;
  for (int64_t panel = 0; panel * 2 < block.columns; ++panel) {
    const int64_t columns = std::min<int64_t>(2, block.columns - panel * 2);
    PanelView view;
    view_panel(h, block.column + panel * 2, columns, first, end, view);
    const PanelRuns& runs = view.runs;
    float* s = w.p + panel * kPanel;
    float* dp = w.ds + panel * kPanel;
    Ahead soon;  // of this panel
    const int64_t row = block.column[panel * 2].row,
                  panel_rows = std::min(kPanel, block.rows - panel * kPanel);
    const bool seen = runs.column[0].end + runs.column[1].end > 0;
    const float* bias = nullptr;
    if (task.bias_tiles.memory != nullptr && seen) {
      bias = bias_tile(task.bias_tiles, h, row, panel_rows, first, end - first);
      soon.add(bias, kPanel, end - first, kPanel);
    } else {
      add_bias_rows(h, row, panel_rows, first, end - first, soon);
    }
    if (task.dbias != nullptr && task.dbias_key_stride == 1 && task.dbias_query_stride != 0) {
      soon.add(task.dbias + head * task.dbias_head_stride + row * task.dbias_query_stride + first,
               task.dbias_query_stride, panel_rows, end - first);
    }
    float* sums = nullptr;
    if (task.bias_sums.memory != nullptr && seen) {
      sums = sums_tile(task.bias_sums, head * task.bias_sums_head_stride, row, first);
      soon.add(sums, kPanel, end - first, kPanel);
    }
    soon.spread(2 * (end - first) / kTileRows);
    scores_over_runs(h, runs, keys.k, keys.ldk, w.qt + panel * h.width * kPanel, s, kBlock,
                     BothAhead{ahead, soon});
    rows_over_runs(runs, h.value_width, keys.v, keys.ldv, w.dot + panel * h.value_width * kPanel, dp, kBlock,
                   BothAhead{ahead, soon});
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t c = panel * 2 + i, at = c * kLanes;
      run[c] = runs.column[i];
      if (run[c].begin == run[c].end) continue;
      any = true;
      const QueryColumn q = block.column[c];
      modify_column(w.p + at, kBlock, view, i, h, q, first, w.factor + at,
                    bias == nullptr ? nullptr : bias + i * kLanes);
      if (careful) {
        weigh_seen<kBlock>(w.p + at, run[c], q.rows, w.max + at, w.log_sum + at,
                           {w.queries.weight + at, w.queries.score + at}, keys.spoilt, w.spoilt + at,
                           [](V x) HWY_ATTR { return exp2_of(x); });
      } else {
        exp_column<kBlock>(w.p + at, run[c], w.max + at, w.log_sum + at);
      }
      // Biases take the gradient before the scale.
      const bool biases = task.ddistance != nullptr || task.dbias != nullptr || sums != nullptr;
      const bool at_once = sums != nullptr && h.drop_below == 0 && !careful && task.ddistance == nullptr;
      const float scale = biases ? 1.0f : h.gradient_scale;
      if (at_once) {
        summed_gradient_column<kBlock>(w.p + at, w.ds + at, run[c], w.delta + at, h.gradient_scale,
                                       sums + i * kLanes);
      } else if (h.drop_below != 0) {
        dropped_gradient_column<kBlock>(w.p + at, w.ds + at, run[c], w.delta + at, scale, h, q, first);
      } else {
        score_gradient_column<kBlock>(w.p + at, w.ds + at, run[c], w.delta + at, scale);
      }
      if (careful) spoil_scores<kBlock>(w.ds + at, run[c], w.spoilt + at);
      if (task.ddistance != nullptr) {
        add_distance_column<kBlock>(
            w.ds + at, run[c],
            task.ddistance + head * task.ddistance_head_stride + h.k_length - h.q_length + q.row - first);
      }
      if (task.dbias != nullptr) {
        add_bias_column<kBlock>(w.ds + at, run[c], q, first, task.dbias + head * task.dbias_head_stride,
                                task.dbias_query_stride, task.dbias_key_stride);
      }
      if (sums != nullptr && !at_once) {
        sum_and_scale_column<kBlock>(w.ds + at, run[c], h.gradient_scale, sums + i * kLanes);
      } else if (biases && !at_once) {
        scale_column<kBlock>(w.ds + at, run[c], h.gradient_scale);
      }
      if (h.softcap > 0.0f) multiply_column<kBlock>(w.ds + at, w.factor + at, run[c]);
    }
    if (task.dq != nullptr && h.differences) {
      difference_columns_over_runs(runs, h.width, keys.k, keys.ldk, dp, kBlock,
                                   w.qt + panel * h.width * kPanel, w.dqt + panel * h.width * kPanel,
                                   block.fresh[panel]);
    } else if (task.dq != nullptr) {
      columns_over_runs(runs, h.width, keys.k, keys.ldk, dp, kBlock, w.dqt + panel * h.width * kPanel,
                        block.fresh[panel], ahead);
    }
  }
  const int64_t count = end - first;
  if (any && (h.mask != nullptr || h.tile_rows != nullptr)) {
    for (int64_t c = 0; c < block.columns; ++c) {
      zero_outside<kBlock>(w.p + c * kLanes, run[c], count);
      zero_outside<kBlock>(w.ds + c * kLanes, run[c], count);
    }
  }
  if (keys.direct) {
    add_by_key<false>(block, run, count, w.p, block.d_o, block.ldo, padded_value, keys.dv, keys.ld_dv, ahead);
    add_by_key<false>(block, run, count, w.ds, block.q, block.ldq, padded, keys.dk, keys.ld_dk, ahead);
    return;
  }
  if (!any) return;
  if (task.dv != nullptr) {
    add_by_key<true>(block, run, count, w.p, block.d_o, block.ldo, padded_value, keys.dv, keys.ld_dv, ahead);
  }
  if (task.dk == nullptr) return;
  if (h.differences) return add_differences(block, run, count, w.ds, keys, padded);
  add_by_key<true>(block, run, count, w.ds, block.q, block.ldq, padded, keys.dk, keys.ld_dk, ahead);
}

// Lists the rows [begin, begin + rows) of a head that begin_block reads.
void add_queries(const AttentionBackwardTask& task, int64_t head, int64_t begin, int64_t rows, Ahead& ahead) {
  const AttentionHead& h = task.heads[head];
  ahead.add(h.q + begin * h.q_stride, h.q_stride, rows, h.width);
  ahead.add(task.out + head * task.out_head_stride + begin * task.out_stride, task.out_stride, rows,
            h.value_width);
  ahead.add(task.dout + head * task.dout_head_stride + begin * task.dout_stride, task.dout_stride, rows,
            h.value_width);
}

// Lists what comes after the block of queries at `row` of a head, and what that block and the task will
// write; spread over the tiles of `pairs` key blocks.
void look_ahead(const AttentionBackwardTask& task, int64_t head, int64_t row, const QueryBlock& block,
                int64_t pairs, Ahead& ahead) {
  const AttentionHead& h = task.heads[head];
  const int64_t then = row + block.rows;
  ahead.clear();
  if (task.next == nullptr) return;  // all lies near
  if (task.dq != nullptr) {
    ahead.add(task.dq + head * task.dq_head_stride + row * task.dq_stride, task.dq_stride, block.rows,
              h.width);
  }
  if (then < task.q_end) {
    add_queries(task, head, then, std::min(kBlock, task.q_end - then), ahead);
  } else if (head + 1 < task.group) {
    add_queries(task, head + 1, task.q_begin, std::min(kBlock, task.q_end - task.q_begin), ahead);
  } else {
    const int64_t keys = task.k_end - task.k_begin;
    if (task.dk != nullptr) ahead.add(task.dk, task.dk_stride, keys, h.width);
    if (task.dv != nullptr) ahead.add(task.dv, task.dv_stride, keys, h.value_width);
    const AttentionBackwardTask& next = *task.next;
    const AttentionHead& first = next.heads[0];
    add_queries(next, 0, next.q_begin, std::min(kBlock, next.q_end - next.q_begin), ahead);
    const int64_t next_keys = next.k_end - next.k_begin;
    ahead.add(first.k + next.k_begin * first.k_stride, first.k_stride, next_keys, first.width);
    ahead.add(first.v + next.k_begin * first.v_stride, first.v_stride, next_keys, first.value_width);
  }
  const int64_t by_query = (2 * kKeyBlock + h.width) / kTileRows * ((block.columns + 1) / 2);
  const int64_t by_key = kKeyBlock / kTileRows * ((h.width + h.value_width) / kPanel);
  ahead.spread(pairs * (by_query + by_key));
}

void end_block(const AttentionBackwardTask& task, const AttentionHead& h, int64_t head, QueryBlock& block,
               const BackwardWorkspace& w) {
  if (task.dq == nullptr) return;
  const F d;
  const V one = hn::Set(d, 1.0f);
  for (int64_t c = 0; c < block.columns; ++c) {
    float* packed = w.dqt + c / 2 * h.width * kPanel + c % 2 * kLanes;
    if (block.fresh[c / 2][c % 2]) zero_column(packed, h.width);
    float* dq = task.dq + head * task.dq_head_stride + block.column[c].row * task.dq_stride;
    if (task.add_dq) {
      unpack_column<true>(packed, one, block.column[c].rows, h.width, dq, task.dq_stride);
    } else {
      unpack_column<false>(packed, one, block.column[c].rows, h.width, dq, task.dq_stride);
    }
  }
}

}  // namespace

int64_t backward_workspace(int64_t width, int64_t value_width, int64_t keys) {
  return lay_out_backward(width, value_width, keys, nullptr, nullptr);
}

void backward(const AttentionBackwardTask& task, float* workspace) {
  const AttentionHead& all = task.heads[0];
  const int64_t keys = task.k_end - task.k_begin;
  const int64_t padded = round_up(all.width, kLanes), padded_value = round_up(all.value_width, kLanes);
  BackwardWorkspace w;
  lay_out_backward(all.width, all.value_width, keys, workspace, &w);
  // One block of queries, as in small problems, reads each key once or twice and writes it once: nothing is
  // copied.
  const bool differences =
      std::any_of(task.heads, task.heads + task.group, [](const AttentionHead& h) { return h.differences; });
  const bool one_block =
      task.group == 1 && all.q_length <= kBlock && task.q_begin < task.q_end && !differences;
  KeyRows rows{all.k + task.k_begin * all.k_stride,
               all.v + task.k_begin * all.v_stride,
               all.k_stride,
               all.v_stride,
               w.dk,
               w.dv,
               padded,
               padded_value,
               w.keys,
               true,
               one_block && padded == all.width && padded_value == all.value_width && task.dk != nullptr &&
                   task.dv != nullptr && !task.add_keys};
  if (rows.direct) {
    rows.dk = task.dk;
    rows.dv = task.dv;
    rows.ld_dk = task.dk_stride;
    rows.ld_dv = task.dv_stride;
  } else {
    zero_floats(w.dk, keys * padded);
    zero_floats(w.dv, keys * padded_value);
  }
  if (!one_block) copy_keys(all, keys, differences, w, rows);
  const bool hides = hides_pairs(all), told = one_block && sees_every_key(all);
  if (hides) check_keys(all, keys, !told, w, rows);
  Ahead ahead;
  for (int64_t head = 0; head < task.group; ++head) {
    const AttentionHead& h = task.heads[head];
    for (int64_t row = task.q_begin; row < task.q_end; row += kBlock) {
      QueryBlock block;
      place_block(h, row, block);
      int64_t begin = std::max(first_key(h, row) / kKeyBlock * kKeyBlock, task.k_begin);
      int64_t end = std::min(end_key(h, row + block.rows - 1), task.k_end);
      if (rows.direct) {  // keys that nobody sees are written too
        begin = task.k_begin;
        end = task.k_end;
      }
      const auto next = [&](int64_t first) {
        return rows.direct ? first : next_block(h, row, row + block.rows, first);
      };
      begin = next(begin);
      if (begin < end) begin_block(task, h, head, row, hides, w, block);
      if (block.spoilt && told) check_keys(all, keys, true, w, rows);
      look_ahead(task, head, row, block, (end - begin + kKeyBlock - 1) / kKeyBlock, ahead);
      for (int64_t first = begin; first < end; first = next(first + kKeyBlock)) {
        const int64_t at = first - task.k_begin;
        KeyRows here = rows;
        here.k += at * rows.ldk;
        here.v += at * rows.ldv;
        here.dk += at * rows.ld_dk;
        here.dv += at * rows.ld_dv;
        here.spoilt = {w.keys.weight + at, w.keys.score + at};
        block_pair(task, h, head, block, first, std::min(first + kKeyBlock, task.k_end), here, w, ahead);
      }
      ahead.finish();
      end_block(task, h, head, block, w);
    }
  }
  if (rows.direct) return;
  write_rows(task, w.dk, padded, all.width, task.dk, task.dk_stride);
  write_rows(task, w.dv, padded_value, all.value_width, task.dv, task.dv_stride);
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/attention_select.hpp"
namespace fovea::kernels {
FOVEA_ATTENTION_SELECT(backward)
}  // namespace fovea::kernels
#endif
