#include "fovea/attention/decode.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "attention/decode_shapes.hpp"
#include "attention/fused.hpp"
#include "attention/kv_cache_layout.hpp"
#include "attention/merge.hpp"
#include "attention/schedule.hpp"
#include "attention/score.hpp"
#include "attention/sequence.hpp"
#include "attention/widen.hpp"
#include "base/check.hpp"
#include "kernels/attention_decode.hpp"

namespace fovea {
namespace {

constexpr const char* kCall = "attention_decode";
constexpr float kLog2E = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;
// Keys of one task: at most 32 parts of a cache, none shorter than 512.
constexpr int64_t kLeastKeys = 512, kMostParts = 32;

int64_t part_length(int64_t keys) {
  const int64_t least = (keys + kMostParts - 1) / kMostParts;
  return std::max(kLeastKeys, (least + 63) / 64 * 64);
}
int64_t parts_of(int64_t keys) {
  const int64_t length = part_length(keys);
  return (keys + length - 1) / length;
}

// What the tasks of a call share.
struct Call {
  const DecodeInputs& in;
  const AttentionInputs& shapes;
  const Resolved& r;
  Score score;
  HeadsView<const float> q;       // the rows that the score makes of the queries
  int64_t d;                      // of a key
  int64_t width, value_width;     // padded
  Buffer<float> partial;          // of each part: [rows] maxima, [rows] sums, [rows][value_width] outputs
  Buffer<int64_t> partial_begin;  // of a sequence's first part
  Buffer<float> scores;           // [H][Lq][Lk] of each sequence, when somebody looks
  Buffer<int64_t> scores_begin;

  int64_t rows(int64_t n) const { return in.q_offsets.length(n) * r.group; }
  int64_t part_floats(int64_t n) const { return (rows(n) * (value_width + 2) + 15) / 16 * 16; }
  float* part(int64_t n, int64_t kv_head, int64_t index) {
    const int64_t keys = in.caches[static_cast<size_t>(n)]->length();
    return partial.data() + partial_begin[static_cast<size_t>(n)] +
           (kv_head * parts_of(keys) + index) * part_floats(n);
  }
  float* scores_of(int64_t n, int64_t head) {
    if (scores.size() == 0) return nullptr;
    return scores.data() + scores_begin[static_cast<size_t>(n)] +
           head * in.q_offsets.length(n) * in.caches[static_cast<size_t>(n)]->length();
  }
};

// Puts what the score makes of a run's keys into the task: a factor, and terms beside q·k.
void add_key_terms(const Call& call, kernels::DecodeTask& task, Buffer<float>& memory) {
  const int64_t keys = task.keys, extras = extra_width(call.score);
  if (static_cast<int64_t>(memory.size()) < (2 + extras) * keys)
    memory = Buffer<float>(static_cast<size_t>((2 + extras) * keys));
  float *squared = memory.data(), *factor = squared + keys, *extra = factor + keys;
  kernels::decode_kernels().squares(task, squared);
  key_terms(call.score, keys, squared, factor, extra);
  task.key_factor = factor;
  task.key_extra = extra;
}

// Row g·Lq + i is query i of the group's head g.
void run_part(Call& call, int64_t n, int64_t kv_head, int64_t begin, int64_t end) {
  const Resolved& r = call.r;
  const KvCache& cache = *call.in.caches[static_cast<size_t>(n)];
  const kernels::DecodeKernels& kernel = kernels::decode_kernels();
  const int64_t lq = call.in.q_offsets.length(n), lk = cache.length(), rows = call.rows(n);
  const int64_t width = call.width;
  const bool made = !reads_as_given(call.score);
  const int64_t extras = extra_width(call.score);
  Buffer<float> workspace(static_cast<size_t>(kernel.workspace(rows, width) + rows * (width + extras)));
  Buffer<float> terms;
  Buffer<int64_t> ranges(static_cast<size_t>(2 * rows));
  Buffer<const float*> distances(static_cast<size_t>(r.has_distance() ? rows : 0));
  float* q = workspace.data() + kernel.workspace(rows, width);
  float* state = call.part(n, kv_head, begin / part_length(lk));

  kernels::DecodeTask task;
  task.type = decode_type(cache.options().type);
  task.layout = layout_of(cache);
  task.width = width;
  task.value_width = call.value_width;
  task.q = q;
  task.rows = rows;
  task.first = ranges.data();
  task.end = ranges.data() + rows;
  task.softcap = r.softcap;
  if (r.has_distance()) task.distance = distances.data();
  float* row_extra = q + rows * width;
  task.row_extra = row_extra;
  task.extras = extras;
  task.scores_stride = lk;
  task.state = {state, state + rows, state + 2 * rows};
  std::fill_n(task.state.max, rows, -1e29f);
  std::fill_n(task.state.sum, rows, 0.0f);
  std::fill_n(task.state.out, rows * call.value_width, 0.0f);
  int64_t least = lk, most = 0;  // keys that any row sees
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t i = row % lq, head = kv_head * r.group + row / lq;
    const float* from = row_of(call.q, call.in.q_offsets, n, i, head);
    for (int64_t c = 0; c < width; ++c) q[row * width + c] = c < call.d ? from[c] * (r.scale * kLog2E) : 0.0f;
    for (int64_t e = 0; e < extras; ++e) row_extra[e * rows + row] = from[call.d + e] * (r.scale * kLog2E);
    least = std::min(least, r.first_key(i, lq, lk));
    most = std::max(most, r.end_key(i, lq, lk));
  }
  float* scores = call.scores_of(n, kv_head * r.group);
  if (scores != nullptr) {
    for (int64_t row = 0; row < rows; ++row) {
      std::fill(scores + row * lk + begin, scores + row * lk + end, kernels::kMaskedScore);
    }
  }
  for (int64_t token = std::max(begin, least); token < std::min(end, most);) {
    const KvCache::Run run = cache.run_at(token, std::min(end, most));
    task.keys = run.end - run.begin;
    task.head = run.memory + kv_head * task.layout.head_bytes();
    task.first_token = run.token;
    if (made) add_key_terms(call, task, terms);
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t i = row % lq, head = kv_head * r.group + row / lq;
      ranges[static_cast<size_t>(row)] = std::clamp<int64_t>(r.first_key(i, lq, lk) - token, 0, task.keys);
      ranges[static_cast<size_t>(rows + row)] =
          std::clamp<int64_t>(r.end_key(i, lq, lk) - token, 0, task.keys);
      if (r.has_distance()) {
        distances[static_cast<size_t>(row)] =
            r.distance.data() + head * r.distance_span + r.distance_zero + i + lk - lq - token;
      }
    }
    task.next = run.end == std::min(end, most)
                    ? nullptr
                    : cache.run_at(run.end, run.end + 1).memory + kv_head * task.layout.head_bytes();
    task.scores = scores == nullptr ? nullptr : scores + token;
    kernel.run(task, workspace.data());
    token = run.end;
  }
}

// The parts of a row, in order, from the sink on; returns its lse.
float merge_parts(Call& call, int64_t n, int64_t head, int64_t i, float* out, Buffer<float>& part_out) {
  const Resolved& r = call.r;
  const int64_t rows = call.rows(n), row = head % r.group * call.in.q_offsets.length(n) + i;
  float lse = r.sinks == nullptr ? -std::numeric_limits<float>::infinity() : r.sinks[head];
  std::fill_n(out, r.dv, 0.0f);
  const int64_t parts = parts_of(call.in.caches[static_cast<size_t>(n)]->length());
  for (int64_t p = 0; p < parts; ++p) {
    const float* state = call.part(n, head / r.group, p);
    const float sum = state[rows + row];
    if (sum == 0.0f) continue;
    const float* from = state + 2 * rows + row * call.value_width;
    for (int64_t c = 0; c < r.dv; ++c) part_out[static_cast<size_t>(c)] = from[c] / sum;
    merge_row(out, lse, part_out.data(), state[row] * kLn2 + std::log(sum), r.dv);
  }
  return lse;
}

// The k strongest keys, the lower index first among equals.
void top_keys(const float* weights, int64_t keys, int64_t k, int64_t* index, float* weight) {
  int64_t count = 0;
  for (int64_t j = 0; j < keys; ++j) {
    if (weights[j] == 0.0f || (count == k && !(weights[j] > weight[k - 1]))) continue;
    int64_t at = count < k ? count++ : k - 1;
    for (; at > 0 && weights[j] > weight[at - 1]; --at) {
      weight[at] = weight[at - 1];
      index[at] = index[at - 1];
    }
    weight[at] = weights[j];
    index[at] = j;
  }
  std::fill(index + count, index + k, int64_t{-1});
  std::fill(weight + count, weight + k, 0.0f);
}

// Sums over a row of weights, as AttentionWeightSums names them; `stride` is that of rows.
void sum_weights(const kernels::AttentionWeightSums& to, const float* weights, int64_t i, int64_t lq,
                 int64_t lk, int64_t stride) {
  double total = 0, squares = 0, distance = 0, near = 0;
  const int64_t at = i * stride, position = i + lk - lq;
  if (to.set_mass != nullptr) std::fill_n(to.set_mass + at * to.set_count, to.set_count, 0.0f);
  for (int64_t j = 0; j < lk; ++j) {
    const auto weight = static_cast<double>(weights[j]);
    total += weight;
    squares += weight * weight;
    distance += weight * static_cast<double>(std::abs(position - j));
    if (position - j <= to.near_left && j - position <= to.near_right) near += weight;
    if (to.set_mass != nullptr && to.sets[j] >= 0) to.set_mass[at * to.set_count + to.sets[j]] += weights[j];
    if (to.blocks != nullptr) to.blocks[(i / 64 * ((lk + 63) / 64) + j / 64) * stride] += weights[j];
  }
  if (to.effective != nullptr)
    to.effective[at] = total == 0 ? 0.0f : static_cast<float>(total * total / squares);
  if (to.distance != nullptr) to.distance[at] = static_cast<float>(distance);
  if (to.first != nullptr) to.first[at] = lk == 0 ? 0.0f : weights[0];
  if (to.near != nullptr) to.near[at] = static_cast<float>(near);
}

void observe_head(Call& call, int64_t n, int64_t head, const float* lse, const Observers& wanted,
                  Insight& seen) {
  const int64_t lq = call.in.q_offsets.length(n), lk = call.in.caches[static_cast<size_t>(n)]->length();
  const int64_t q0 = call.in.q_offsets.begin(n), k0 = call.shapes.k_offsets.begin(n), heads = call.r.heads;
  for (int64_t i = 0; i < lq; ++i) {
    const int64_t at = (q0 + i) * heads + head;
    float* weights = call.scores_of(n, head) + i * lk;
    const bool empty = lse[at] == -std::numeric_limits<float>::infinity();
    if (empty) std::fill_n(weights, lk, kernels::kMaskedScore);
    float entropy = kernels::decode_kernels().weigh({weights, lk, empty ? 0.0f : lse[at] * kLog2E});
    if (call.r.sinks != nullptr) {
      const float sink = call.r.sinks[head] - lse[at];
      entropy -= std::exp(sink) * sink;
    }
    if (wanted.entropy) seen.entropy.data()[at] = std::max(0.0f, entropy);
    if (wanted.max) top_keys(weights, lk, 1, seen.max_key.data<int64_t>() + at, seen.max_weight.data() + at);
    if (wanted.top_k > 0) {
      top_keys(weights, lk, wanted.top_k, seen.top_k_keys.data<int64_t>() + at * wanted.top_k,
               seen.top_k_weights.data() + at * wanted.top_k);
    }
    for (int64_t j = 0; wanted.key_mass && j < lk; ++j)
      seen.key_mass.data()[(k0 + j) * heads + head] += weights[j];
    if (wanted.weights()) sum_weights(sums_of(call.shapes, wanted, seen, n, head), weights, i, lq, lk, heads);
  }
}

}  // namespace

AttentionInputs decode_shapes(const char* call, const DecodeInputs& in, std::vector<int64_t>& lengths) {
  check_argument(static_cast<int64_t>(in.caches.size()) == in.q_offsets.count(), call,
                 "expected one cache for each of the {} sequences, got {}", in.q_offsets.count(),
                 in.caches.size());
  check_argument(!in.caches.empty(), call, "expected at least one sequence, got none");
  for (const KvCache* cache : in.caches) {
    check_argument(cache != nullptr, call, "expected caches, got a null pointer");
    const KvCacheOptions &a = cache->options(), &b = in.caches.front()->options();
    check_argument(a.kv_heads == b.kv_heads && a.width == b.width && a.value_width == b.value_width, call,
                   "expected caches of equal heads and widths, got [{}, {}, {}] and [{}, {}, {}]", b.kv_heads,
                   b.width, b.value_width, a.kv_heads, a.width, a.value_width);
    lengths.push_back(cache->length());
  }
  const KvCacheOptions& o = in.caches.front()->options();
  AttentionInputs shapes;
  shapes.q = in.q;
  shapes.q_offsets = in.q_offsets;
  shapes.k_offsets = Offsets::from_lengths(lengths);
  const int64_t tokens = shapes.k_offsets.total();
  // Checked by shape; never read. q's address stands for "there is data".
  shapes.k = contiguous_view<const float, 3>(in.q.data, {tokens, o.kv_heads, o.width});
  shapes.v = contiguous_view<const float, 3>(in.q.data, {tokens, o.kv_heads, o.value_width});
  shapes.alibi_slopes = in.alibi_slopes;
  shapes.relative = in.relative;
  shapes.sinks = in.sinks;
  return shapes;
}

void attention_decode(const DecodeInputs& in, const AttentionSpec& spec, HeadsView<float> out, float* lse,
                      const Observers& observers, Insight* seen) {
  std::vector<int64_t> lengths;
  const AttentionInputs shapes = decode_shapes(kCall, in, lengths);
  const Resolved r = resolve(kCall, shapes, spec);
  check_argument(spec.top_k == 0, kCall, "expected no top_k, got {}", spec.top_k);
  check_argument(spec.dropout == 0, kCall, "expected no dropout, got {}", spec.dropout);
  check_argument(
      out.dim(0) == in.q.dim(0) && out.dim(1) == r.heads && out.dim(2) == r.dv && out.stride(2) == 1, kCall,
      "expected out [{}, {}, {}] with an innermost stride of 1, got [{}, {}, {}]", in.q.dim(0), r.heads, r.dv,
      out.dim(0), out.dim(1), out.dim(2));
  check_observers(kCall, observers, shapes.k_offsets.total(), seen);
  if (seen != nullptr) prepare_insight(shapes, observers, *seen);

  const ScoreRows<float> made = make_rows<float>({spec.score, in.q, {}, in.q_offsets, shapes.k_offsets});
  Call call{in,
            shapes,
            r,
            spec.score,
            made.q,
            in.q.dim(2),
            in.caches.front()->padded_width(),
            in.caches.front()->padded_value_width(),
            {},
            {},
            {},
            {}};
  call.partial_begin = Buffer<int64_t>(static_cast<size_t>(r.sequences));
  call.scores_begin = Buffer<int64_t>(static_cast<size_t>(r.sequences));
  int64_t tasks = 0, partial = 0, scores = 0;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t parts = parts_of(shapes.k_offsets.length(n)) * r.kv_heads;
    call.partial_begin[static_cast<size_t>(n)] = partial;
    call.scores_begin[static_cast<size_t>(n)] = scores;
    tasks += parts;
    partial += parts * call.part_floats(n);
    scores += r.heads * in.q_offsets.length(n) * shapes.k_offsets.length(n);
  }
  call.partial = Buffer<float>(static_cast<size_t>(partial));
  if (observers.any()) call.scores = Buffer<float>(static_cast<size_t>(scores));
  Plan plan(tasks);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t keys = shapes.k_offsets.length(n), step = part_length(keys);
    for (int64_t h = 0; h < r.kv_heads && call.rows(n) > 0; ++h) {
      for (int64_t begin = 0; begin < keys; begin += step) {
        const int64_t end = std::min(keys, begin + step);
        // Bound by memory: a key read counts as eight multiply-adds a number, whatever the rows.
        plan.add({n, h, begin, end}, (end - begin) * (r.d + r.dv) * std::max<int64_t>(8, call.rows(n)));
      }
    }
  }
  plan.run([&](const Item& item) { run_part(call, item.sequence, item.head, item.begin, item.end); });

  const int64_t rows = in.q.dim(0) * r.heads;
  Buffer<float> own_lse(static_cast<size_t>(lse == nullptr ? rows : 0));
  if (lse == nullptr) lse = own_lse.data();
  Plan merges(r.sequences * r.heads);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t looks = observers.any() ? shapes.k_offsets.length(n) * 16 : 0;
    for (int64_t h = 0; h < r.heads; ++h) {
      const int64_t parts = parts_of(shapes.k_offsets.length(n));
      merges.add({n, h, 0, 0}, in.q_offsets.length(n) * (parts * (r.dv * 4 + 64) + looks));
    }
  }
  merges.run([&](const Item& item) {
    Buffer<float> part_out(static_cast<size_t>(r.dv));
    for (int64_t i = 0; i < in.q_offsets.length(item.sequence); ++i) {
      const int64_t t = in.q_offsets.begin(item.sequence) + i;
      lse[t * r.heads + item.head] =
          merge_parts(call, item.sequence, item.head, i,
                      row_of(out, in.q_offsets, item.sequence, i, item.head), part_out);
    }
    if (observers.any()) observe_head(call, item.sequence, item.head, lse, observers, *seen);
  });
  if (seen != nullptr && observers.any()) {
    seen->lse = Tensor::empty({in.q.dim(0), r.heads});
    std::copy_n(lse, rows, seen->lse.data());
  }
}

template <class T>
void attention_decode(const HalfDecodeInputs<T>& in, const AttentionSpec& spec,
                      std::type_identity_t<HeadsView<T>> out, float* lse, const Observers& observers,
                      Insight* seen) {
  const HeadsView<const T>& q = in.q;
  check_argument(q.stride(2) == 1 && q.dim(0) == in.rest.q_offsets.total(), kCall,
                 "expected q [{}, H, D] with an innermost stride of 1, got [{}, {}, {}]",
                 in.rest.q_offsets.total(), q.dim(0), q.dim(1), q.dim(2));
  check_argument(out.dim(0) == q.dim(0) && out.dim(1) == q.dim(1) && out.stride(2) == 1, kCall,
                 "expected out [{}, {}, Dv] with an innermost stride of 1, got [{}, {}, {}]", q.dim(0),
                 q.dim(1), out.dim(0), out.dim(1), out.dim(2));
  const Tensor wide_q = widened(q, in.rest.q_offsets);
  Tensor wide_out = Tensor::empty({q.dim(0), q.dim(1), out.dim(2)});
  DecodeInputs wide = in.rest;
  wide.q = heads_view<float>(wide_q);
  attention_decode(wide, spec, heads_view<float>(wide_out), lse, observers, seen);
  narrow_to(out, in.rest.q_offsets, wide_out);
}

template void attention_decode(const HalfDecodeInputs<BFloat16>&, const AttentionSpec&, HeadsView<BFloat16>,
                               float*, const Observers&, Insight*);
template void attention_decode(const HalfDecodeInputs<Float16>&, const AttentionSpec&, HeadsView<Float16>,
                               float*, const Observers&, Insight*);

}  // namespace fovea
