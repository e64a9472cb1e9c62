#include "attention/kept.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/schedule.hpp"
#include "attention/score_rule.hpp"
#include "attention/sequence.hpp"

namespace fovea {
namespace {

constexpr auto kKeptFloats = static_cast<int64_t>(sizeof(KeptKey) / sizeof(float));
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What the kernel leaves of a chunk of rows.
struct Chosen {
  int64_t* keys = nullptr;  // [rows, k], −1 behind the last
  float* weights = nullptr;
  float* out = nullptr;  // [rows]

  static int64_t floats(int64_t rows, int64_t k) { return rows * (3 * k + 1); }
  Chosen(float* memory, int64_t rows, int64_t k)
      : keys(reinterpret_cast<int64_t*>(memory)), weights(memory + 2 * rows * k), out(weights + rows * k) {}
};

// Every key's value in the pass that chooses: the output is 1, 0 without keys, or NaN where a score is.
constexpr float kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

// A pass over the scores of queries [begin, end).
void choose(const AttentionInputs& in, const Resolved& r, const Item& item, const Chosen& chosen,
            float* workspace) {
  kernels::AttentionForwardTask task;
  task.head = head_of(in, r, item.sequence, item.head);
  task.head.v = kOnes;
  task.head.v_stride = 0;
  task.head.value_width = 1;
  task.head.sink = nullptr;
  task.head.drop_below = 0;
  task.q_begin = item.begin;
  task.q_end = item.end;
  // The kernel counts rows from the sequence's first.
  task.out = chosen.out - item.begin;
  task.out_stride = 1;
  task.row_stride = 1;
  task.statistics.top_k = r.top_k;
  task.statistics.top_keys = chosen.keys - item.begin * r.top_k;
  task.statistics.top_weights = chosen.weights - item.begin * r.top_k;
  kernels::attention_kernels().forward(task, workspace);
}

void compute_logit(const AttentionInputs& in, const Resolved& r, const KeptRow& row, KeptKey& kept) {
  const int64_t j = kept.key;
  const float* q = row_of(in.q, in.q_offsets, row.n, row.i, row.h);
  const float* k = row_of(in.k, in.k_offsets, row.n, j, row.h / r.group);
  kept.raw = r.differences ? negative_distance<float>(q, k, r.d, r.timelike) : kept_dot(q, k, r.d);
  float logit = kept.raw * r.scale_of(row.h);
  kept.slope = 1.0f;
  if (r.softcap > 0) {
    const float t = std::tanh(logit / r.softcap);
    logit = r.softcap * t;
    kept.slope = 1.0f - t * t;
  }
  if (r.has_distance()) {
    const int64_t e = row.i + in.k_offsets.length(row.n) - in.q_offsets.length(row.n) - j;
    logit += r.distance[static_cast<size_t>(row.h * r.distance_span + r.distance_zero + e)];
  }
  if (const float* bias = scores_of(in.bias, row.n, row.h))
    logit += bias[row.i * in.bias.stride(2) + j * in.bias.stride(3)];
  kept.logit = logit;
}

// Whether a is before b: by strength, the lower key first among equals, NaN last.
bool is_before(const KeptKey& a, const KeptKey& b) {
  if (std::isnan(a.logit) != std::isnan(b.logit)) return std::isnan(b.logit);
  if (a.logit < b.logit || a.logit > b.logit) return a.logit > b.logit;
  return a.key < b.key;
}

// Rounding may have parted what the kernel saw as equal, or joined what it told apart: most rows are in
// order.
void sort_row(const KeptRow& row) {
  KeptKey* end = row.kept + row.count;
  if (!std::is_sorted(row.kept, end, is_before)) std::sort(row.kept, end, is_before);
}

void compute_weights(const Resolved& r, KeptRow& row) {
  const float sink = r.sinks == nullptr ? -kInfinity : r.sinks[row.h];
  const float max = row.max = row.count == 0 ? sink : std::max(sink, row.kept[0].logit);
  row.log_sum = 0;
  if (max == -kInfinity) return;
  float sum = std::exp(sink - max);
  for (int64_t s = row.count; s-- > 0;) {  // the small ones first
    row.kept[s].weight = std::exp(row.kept[s].logit - max);
    sum += row.kept[s].weight;
  }
  row.log_sum = std::log(sum);
  for (int64_t s = 0; s < row.count; ++s) row.kept[s].weight /= sum;
}

}  // namespace

float kept_dot(const float* a, const float* b, int64_t n) {
  float lane[8] = {};
  int64_t c = 0;
  for (; c + 8 <= n; c += 8) {
    for (int64_t l = 0; l < 8; ++l) lane[l] += a[c + l] * b[c + l];
  }
  for (int64_t l = 0; c < n; ++c, ++l) lane[l] += a[c] * b[c];
  return ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
}

void kept_add(float* y, float a, const float* x, int64_t n) {
  for (int64_t c = 0; c < n; ++c) y[c] += a * x[c];
}

void kept_add_row(const Resolved& r, float* y, float a, const float* x, const float* from) {
  if (!r.differences) return kept_add(y, a, x, r.d);
  for (int64_t c = 0; c < r.d; ++c) y[c] += a * (x[c] - from[c]);
}

float dropout_factor(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h, int64_t i,
                     int64_t j) {
  if (r.drop_below == 0) return 1.0f;
  const auto row = static_cast<uint32_t>((in.q_offsets.begin(n) + i) * r.heads + h);
  const uint64_t index = uint64_t{row} << 32 | static_cast<uint64_t>(j / 8);
  const uint32_t word = r.dropout_key.block(index)[static_cast<size_t>(j % 8 / 2)];
  return (word >> (j % 2 * 16) & 0xFFFFu) < r.drop_below ? 0.0f : r.keep_scale;
}

void for_kept_rows(const AttentionInputs& in, const Resolved& r, FunctionRef<bool(const RowChunk&)> wanted,
                   FunctionRef<void(const KeptRow&)> use) {
  const kernels::AttentionKernels& kernel = kernels::attention_kernels();
  const Plan plan = plan_of_queries(in, r, kernel.query_chunk);
  const int64_t chosen_floats = (Chosen::floats(kernel.query_chunk, r.top_k) + 15) / 16 * 16;
  const int64_t row_floats = r.top_k * (kKeptFloats + 1);
  Workspaces workspaces(chosen_floats + std::max(row_floats, kernel.forward_workspace(r.d, 1, r.top_k)));
  plan.run([&](const Item& item) {
    if (!wanted({item.sequence, item.begin, item.end})) return;
    float* memory = workspaces.mine();
    const Chosen chosen(memory, kernel.query_chunk, r.top_k);
    choose(in, r, item, chosen, memory + chosen_floats);
    KeptRow row;
    float* row_memory = memory + chosen_floats;  // the kernel's, which is done with it
    row.kept = reinterpret_cast<KeptKey*>(row_memory);
    row.room = row_memory + r.top_k * kKeptFloats;
    row.n = item.sequence;
    row.h = item.head;
    for (row.i = item.begin; row.i < item.end; ++row.i) {
      const int64_t at = row.i - item.begin;
      row.spoilt = std::isnan(chosen.out[at]);
      const int64_t* keys = chosen.keys + at * r.top_k;
      for (row.count = 0; row.count < r.top_k && keys[row.count] >= 0; ++row.count) {
        KeptKey& kept = row.kept[row.count];
        kept.key = static_cast<int32_t>(keys[row.count]);
        compute_logit(in, r, row, kept);
      }
      sort_row(row);
      compute_weights(r, row);
      use(row);
    }
  });
}

KeptLists::KeptLists(const AttentionInputs& in, const Resolved& r)
    : keys(static_cast<size_t>(in.q_offsets.total() * r.heads * r.top_k)), k(r.top_k), heads(r.heads) {}

void KeptLists::set(const AttentionInputs& in, const KeptRow& row) {
  int32_t* to = keys.data() + at(in.q_offsets.begin(row.n) + row.i, row.h);
  for (int64_t s = 0; s < k; ++s) to[s] = s < row.count ? row.kept[s].key : -1;
}

}  // namespace fovea
