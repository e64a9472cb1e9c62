#include "attention/schedule.hpp"

#include <atomic>
#include <limits>

#include "attention/block_mask_data.hpp"
#include "attention/sequence.hpp"

namespace fovea {
namespace {

void override_head(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h,
                   kernels::AttentionHead& head) {
  const HeadOverride what = r.override_of(h);
  if (what == HeadOverride::kPermuted) {
    head.k_stride = r.kv_heads * r.d;
    head.k = r.permuted_k.data() + in.k_offsets.begin(n) * head.k_stride + h / r.group * r.d;
    return;
  }
  head.scale = head.gradient_scale = head.softcap = 0.0f;
  head.differences = head.timelike = false;
  head.distance = head.bias = head.sink = nullptr;
  if (what == HeadOverride::kFrozen) {
    const ScoresView<const float>& log_weights = in.override_heads.log_weights;
    head.bias = scores_of(log_weights, n, h);
    head.bias_query_stride = log_weights.stride(2);
    head.bias_key_stride = log_weights.stride(3);
  } else if (what == HeadOverride::kOff) {
    head.left = head.right = -kUnbounded;  // sees no key
  }
}

}  // namespace

bool lies_far(const AttentionInputs& in, const Resolved& r) {
  constexpr int64_t kNear = int64_t{1} << 20;  // floats
  return (in.q.dim(0) * r.heads + in.k.dim(0) * r.kv_heads) * (r.d + r.dv) > kNear;
}

kernels::AttentionHead head_of(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h) {
  const int64_t q0 = in.q_offsets.begin(n);
  kernels::AttentionHead head;
  head.q = row_of(in.q, in.q_offsets, n, 0, h);
  head.k = row_of(in.k, in.k_offsets, n, 0, h / r.group);
  head.v = row_of(in.v, in.k_offsets, n, 0, h / r.group);
  head.q_stride = in.q.stride(0);
  head.k_stride = in.k.stride(0);
  head.v_stride = in.v.stride(0);
  head.q_length = in.q_offsets.length(n);
  head.k_length = in.k_offsets.length(n);
  head.width = r.d;
  head.value_width = r.dv;
  head.differences = r.differences;
  head.timelike = r.timelike;
  head.scale = r.scale_of(h);
  head.gradient_scale = r.unit_gradient_scale ? 1.0f : head.scale;
  head.left = r.left;
  head.right = r.right;
  head.softcap = r.softcap;
  if (r.has_distance()) head.distance = r.distance.data() + h * r.distance_span + r.distance_zero;
  head.bias = scores_of(in.bias, n, h);
  head.bias_query_stride = in.bias.stride(2);
  head.bias_key_stride = in.bias.stride(3);
  head.mask = scores_of(in.mask, n, h);
  head.mask_query_stride = in.mask.stride(2);
  head.mask_key_stride = in.mask.stride(3);
  if (const BlockMask* blocks = blocks_of(in, n, h)) {
    const BlockMask::Data& data = blocks->data();
    head.tiles = data.tiles.data();
    head.tile_rows = data.rows.data();
    head.tile_words = data.words.data();
  }
  if (r.sinks != nullptr && r.sinks[h] != -std::numeric_limits<float>::infinity()) head.sink = r.sinks + h;
  head.drop_below = r.drop_below;
  head.keep_scale = r.keep_scale;
  head.dropout_key = r.dropout_key;
  head.dropout_row = static_cast<uint32_t>(q0 * r.heads + h);
  head.dropout_row_step = static_cast<uint32_t>(r.heads);
  if (r.override_of(h) != HeadOverride::kNone) override_head(in, r, n, h, head);
  return head;
}

int64_t work_of(const Resolved& r, int64_t queries, int64_t keys) {
  const int64_t seen =
      r.left == kUnbounded && r.right == kUnbounded ? keys : std::min(keys, std::max<int64_t>(1, keys / 2));
  return queries * seen * (r.d + r.dv) + queries * (r.d + r.dv);
}

namespace {

// Keys of one backward task, unless that would make more than eight shares of dQ.
constexpr int64_t kKeyChunk = 512;
constexpr int64_t kMaxChunks = 8;

}  // namespace

int64_t chunk_of(int64_t keys) {
  const int64_t least = (keys + kMaxChunks - 1) / kMaxChunks;
  return std::max<int64_t>(kKeyChunk, (least + 63) / 64 * 64);
}

bool is_short(int64_t queries, int64_t keys) {
  return (queries + 63) / 64 * ((keys + 63) / 64) <= 64;
}

BandCut band_cut(int64_t queries, int64_t keys) {
  const auto equal = [](int64_t n, int64_t most) {
    const int64_t parts = (n + most - 1) / most;
    return ((n + parts - 1) / parts + 63) / 64 * 64;
  };
  const int64_t chunk = chunk_of(keys), blocks = (queries + 63) / 64;
  if (is_short(queries, keys)) return {std::max<int64_t>(1, blocks) * 64, chunk};
  // Sums of a band and a chunk take 1 or 2 MiB. Few chunks need bands beside them, but no more than eight.
  int64_t band = chunk > kKeyChunk || keys <= 2 * chunk ? kKeyChunk : 2 * kKeyChunk;
  if (keys <= kMaxChunks / 2 * chunk) band = std::max(band, (blocks + kMaxChunks - 1) / kMaxChunks * 64);
  return {equal(queries, band), equal(keys, chunk)};
}

Rows rows_seeing(const Resolved& r, int64_t lq, int64_t lk, int64_t begin, int64_t end) {
  constexpr int64_t kRows = 64;
  if (begin >= end) return {0, 0};
  const int64_t first = std::clamp<int64_t>(begin - r.right - (lk - lq), 0, lq) / kRows * kRows;
  const int64_t last = std::clamp<int64_t>(end + r.left - (lk - lq), 0, lq);
  return first < last ? Rows{first, std::min(lq, (last + kRows - 1) / kRows * kRows)} : Rows{0, 0};
}

void add_shares(const AttentionInputs& in, const Resolved& r, const float* shares,
                const HeadsView<float>& dq) {
  add_shares(in, r, shares, dq, [&](int64_t n) { return chunk_of(in.k_offsets.length(n)); });
}

void add_shares(const AttentionInputs& in, const Resolved& r, const float* shares, const HeadsView<float>& dq,
                FunctionRef<int64_t(int64_t n)> chunk_of_sequence) {
  const int64_t share_rows = in.q_offsets.total() * r.heads;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lk = in.k_offsets.length(n), chunk = chunk_of_sequence(n), q0 = in.q_offsets.begin(n);
    const int64_t lq = in.q_offsets.length(n);
    const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, r.heads * r.d));
    parallel_for(lq, grain, [&](int64_t begin, int64_t end) {
      for (int64_t share = 1; share * chunk < lk; ++share) {
        const Rows rows = rows_seeing(r, lq, lk, share * chunk, std::min(lk, (share + 1) * chunk));
        for (int64_t i = std::max(begin, rows.first); i < std::min(end, rows.end); ++i) {
          for (int64_t h = 0; h < r.heads; ++h) {
            const float* from = shares + ((share - 1) * share_rows + (q0 + i) * r.heads + h) * r.d;
            float* to = row_of(dq, in.q_offsets, n, i, h);
            for (int64_t c = 0; c < r.d; ++c) to[c] += from[c];
          }
        }
      }
    });
  }
}

kernels::AttentionStatistics statistics_of(const Observers& observers, Insight& seen, int64_t row) {
  kernels::AttentionStatistics s;
  if (observers.entropy) s.entropy = seen.entropy.data() + row;
  if (observers.max) s.max_weight = seen.max_weight.data() + row;
  if (observers.max) s.max_key = seen.max_key.data<int64_t>() + row;
  s.top_k = observers.top_k > 0 ? seen.top_k_keys.dim(2) : 0;
  if (s.top_k > 0) s.top_keys = seen.top_k_keys.data<int64_t>() + row * s.top_k;
  if (s.top_k > 0) s.top_weights = seen.top_k_weights.data() + row * s.top_k;
  return s;
}

kernels::AttentionWeightSums sums_of(const AttentionInputs& in, const Observers& observers, Insight& seen,
                                     int64_t n, int64_t h) {
  kernels::AttentionWeightSums s;
  const int64_t heads = in.q.dim(1), row = in.q_offsets.begin(n) * heads + h;
  if (observers.effective_keys) s.effective = seen.effective_keys.data() + row;
  if (observers.distance) s.distance = seen.expected_distance.data() + row;
  if (observers.first_key) s.first = seen.first_key_mass.data() + row;
  if (observers.near()) {
    s.near = seen.near_mass.data() + row;
    s.near_left = observers.near_left;
    s.near_right = observers.near_right;
  }
  if (observers.key_set_count > 0) {
    s.sets = observers.key_sets.data() + in.k_offsets.begin(n);
    s.set_count = observers.key_set_count;
    s.set_mass = seen.set_mass.data() + row * s.set_count;
  }
  if (observers.block_mass) s.blocks = seen.block_mass.data() + seen.block_offsets.begin(n) * heads + h;
  return s;
}

void Plan::run(FunctionRef<void(const Item&, const Item*)> body) const {
  struct alignas(64) Stretch {  // a cache line each: threads count their own without disturbing others
    std::atomic<int64_t> next;
    int64_t end;
  };
  constexpr int64_t kMostStretches = 64;
  Stretch stretches[kMostStretches];
  const bool worth_threads = work_ > kWorthThreads;
  const int64_t count =
      worth_threads ? std::min<int64_t>({kMostStretches, get_num_threads(), std::max<int64_t>(1, count_)})
                    : 1;
  for (int64_t s = 0; s < count; ++s) {
    stretches[s].next.store(count_ * s / count, std::memory_order_relaxed);
    stretches[s].end = count_ * (s + 1) / count;
  }
  parallel_tasks(count, worth_threads, [&](int64_t) {
    for (int64_t s = 0; s < count; ++s) {
      Stretch& stretch = stretches[(thread_index() + s) % count];
      for (;;) {
        const int64_t i = stretch.next.fetch_add(1, std::memory_order_relaxed);
        if (i >= stretch.end) break;
        body((*this)[i], i + 1 < stretch.end ? &(*this)[i + 1] : nullptr);
      }
    }
  });
}

Plan plan_of_queries(const AttentionInputs& in, const Resolved& r, int64_t query_chunk) {
  int64_t capacity = 0;
  for (int64_t n = 0; n < r.sequences; ++n) capacity += in.q_offsets.length(n) / query_chunk + 1;
  Plan plan(capacity * r.heads);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n);
    const int64_t chunks = (lq + query_chunk - 1) / query_chunk;
    for (int64_t h = 0; h < r.heads; ++h) {
      for (int64_t c = chunks - 1; c >= 0; --c) {  // under a causal mask the last queries have the most to do
        const int64_t begin = c * query_chunk, end = std::min(lq, begin + query_chunk);
        plan.add({n, h, begin, end}, work_of(r, end - begin, in.k_offsets.length(n)));
      }
    }
  }
  return plan;
}

}  // namespace fovea
