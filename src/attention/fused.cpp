#include "attention/fused.hpp"

#include <cmath>

#include "attention/schedule.hpp"
#include "fovea/base/parallel.hpp"
#include "kernels/attention_kernels.hpp"

namespace fovea {

using kernels::AttentionHead;

AttentionHead head_of(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h) {
  const int64_t q0 = in.q_offsets.begin(n), k0 = in.k_offsets.begin(n);
  AttentionHead head;
  head.q = at(in.q, q0, h);
  head.k = at(in.k, k0, h / r.group);
  head.v = at(in.v, k0, h / r.group);
  head.q_stride = in.q.stride(0);
  head.k_stride = in.k.stride(0);
  head.v_stride = in.v.stride(0);
  head.q_length = in.q_offsets.length(n);
  head.k_length = in.k_offsets.length(n);
  head.width = r.d;
  head.value_width = r.dv;
  head.scale = r.scale;
  head.left = r.left;
  head.right = r.right;
  head.softcap = r.softcap;
  if (r.has_distance()) head.distance = r.distance.data() + h * r.distance_span + r.distance_zero;
  if (!in.sinks.empty()) head.sink = &in.sinks[static_cast<size_t>(h)];
  head.drop_below = r.drop_below;
  head.keep_scale = r.keep_scale;
  head.dropout_key = r.dropout_key;
  head.dropout_row = static_cast<uint32_t>(q0 * r.heads + h);
  head.dropout_row_step = static_cast<uint32_t>(r.heads);
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

void add_shares(const AttentionInputs& in, const Resolved& r, const float* shares,
                const HeadsView<float>& dq) {
  const int64_t rows = in.q_offsets.total() * r.heads;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lk = in.k_offsets.length(n), chunk = chunk_of(lk), q0 = in.q_offsets.begin(n);
    const int64_t grain = std::max<int64_t>(1, 16384 / (r.heads * r.d));
    parallel_for(in.q_offsets.length(n), grain, [&](int64_t begin, int64_t end) {
      for (int64_t share = 1; share * chunk < lk; ++share) {
        for (int64_t t = q0 + begin; t < q0 + end; ++t) {
          for (int64_t h = 0; h < r.heads; ++h) {
            const float* from = shares + ((share - 1) * rows + t * r.heads + h) * r.d;
            float* to = at(dq, t, h);
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
  s.top_k = observers.top_k;
  if (s.top_k > 0) s.top_keys = seen.top_k_keys.data<int64_t>() + row * s.top_k;
  if (s.top_k > 0) s.top_weights = seen.top_k_weights.data() + row * s.top_k;
  return s;
}

namespace {

// The gradient of the sinks: each is a key whose value is 0, so dS = −p·δ.
void sink_gradient(const AttentionInputs& in, const Resolved& r, HeadsView<const float> out, const float* lse,
                   HeadsView<const float> dout, float* dsinks) {
  parallel_for(r.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      double sum = 0;
      for (int64_t t = 0; t < in.q.dim(0); ++t) {
        double delta = 0;
        for (int64_t c = 0; c < r.dv; ++c)
          delta += static_cast<double>(at(out, t, h)[c]) * static_cast<double>(at(dout, t, h)[c]);
        sum += delta * std::exp(static_cast<double>(in.sinks[static_cast<size_t>(h)]) -
                                static_cast<double>(lse[t * r.heads + h]));
      }
      dsinks[h] -= static_cast<float>(sum);
    }
  });
}

void zero_rows(const HeadsView<float>& x, int64_t begin, int64_t end, int64_t h) {
  if (x.data == nullptr) return;
  for (int64_t t = begin; t < end; ++t) std::fill_n(at(x, t, h), x.dim(2), 0.0f);
}

}  // namespace

void fused_forward(const AttentionInputs& in, const Resolved& r, HeadsView<float> out, float* lse,
                   const Observers& observers, Insight* seen) {
  const kernels::AttentionKernels& kernel = kernels::attention_kernels();
  int64_t capacity = 0;
  for (int64_t n = 0; n < r.sequences; ++n) capacity += in.q_offsets.length(n) / kernel.query_chunk + 1;
  Plan plan(capacity * r.heads);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n);
    const int64_t chunks = (lq + kernel.query_chunk - 1) / kernel.query_chunk;
    for (int64_t h = 0; h < r.heads; ++h) {
      for (int64_t c = chunks - 1; c >= 0; --c) {  // under a causal mask the last queries have the most to do
        const int64_t begin = c * kernel.query_chunk, end = std::min(lq, begin + kernel.query_chunk);
        plan.add({n, h, begin, end}, work_of(r, end - begin, in.k_offsets.length(n)));
      }
    }
  }
  const bool want_rows = observers.entropy || observers.max || observers.top_k > 0;
  Workspaces workspaces(kernel.forward_workspace(r.d, r.dv, observers.top_k));
  plan.run([&](const Item& item) {
    kernels::AttentionForwardTask task;
    task.head = head_of(in, r, item.sequence, item.head);
    task.q_begin = item.begin;
    task.q_end = item.end;
    const int64_t q0 = in.q_offsets.begin(item.sequence), row = q0 * r.heads + item.head;
    task.out = at(out, q0, item.head);
    task.out_stride = out.stride(0);
    task.lse = lse == nullptr ? nullptr : lse + row;
    task.row_stride = r.heads;
    if (want_rows) task.statistics = statistics_of(observers, *seen, row);
    kernel.forward(task, workspaces.mine());
  });
  if (observers.key_mass) fused_key_mass(in, r, lse, *seen);
}

void fused_key_mass(const AttentionInputs& in, const Resolved& r, const float* lse, Insight& seen) {
  const kernels::AttentionKernels& kernel = kernels::attention_kernels();
  Workspaces workspaces(kernel.mass_workspace(r.d));
  Plan masses(r.sequences * r.heads);
  for (int64_t n = 0; n < r.sequences; ++n) {
    for (int64_t h = 0; h < r.heads; ++h) {
      masses.add({n, h, 0, 0}, work_of(r, in.q_offsets.length(n), in.k_offsets.length(n)) / 2);
    }
  }
  masses.run([&](const Item& item) {
    kernels::AttentionMassTask task;
    task.head = head_of(in, r, item.sequence, item.head);
    task.lse = lse + in.q_offsets.begin(item.sequence) * r.heads + item.head;
    task.row_stride = r.heads;
    task.mass = seen.key_mass.data() + in.k_offsets.begin(item.sequence) * r.heads + item.head;
    task.mass_stride = r.heads;
    kernel.mass(task, workspaces.mine());
  });
}

void fused_backward(const AttentionInputs& in, const Resolved& r, HeadsView<const float> out,
                    const float* lse, HeadsView<const float> dout, const AttentionGradients& g) {
  const kernels::AttentionKernels& kernel = kernels::attention_kernels();
  const bool want_distance = r.has_distance() && (g.dtable != nullptr || g.dslopes != nullptr);

  // One item is a key head of a sequence. A few long sequences are cut into key chunks that run side by side,
  // each with its own share of dQ, added in order afterwards; many sequences do the same chunks one after the
  // other. Both give the same bits.
  int64_t chunks_total = 0, longest_chunk = 1, shares = 0;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lk = in.k_offsets.length(n), chunk = chunk_of(lk);
    const int64_t chunks = (lk + chunk - 1) / chunk;
    chunks_total += chunks;
    longest_chunk = std::max(longest_chunk, std::min(lk, chunk));
    shares = std::max(shares, chunks);
  }
  const bool side_by_side = shares > 1 && !want_distance && r.sequences * r.kv_heads < 4 * get_num_threads();
  Plan plan((side_by_side ? chunks_total : r.sequences) * r.kv_heads + 1);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    for (int64_t h = 0; h < r.kv_heads; ++h) {
      if (lq == 0 || lk == 0) {  // no kernel will write these
        zero_rows(g.dk, in.k_offsets.begin(n), in.k_offsets.end(n), h);
        zero_rows(g.dv, in.k_offsets.begin(n), in.k_offsets.end(n), h);
        for (int64_t m = h * r.group; m < (h + 1) * r.group; ++m) {
          zero_rows(g.dq, in.q_offsets.begin(n), in.q_offsets.end(n), m);
        }
        continue;
      }
      const int64_t step = side_by_side ? chunk_of(lk) : lk;
      for (int64_t begin = 0; begin < lk; begin += step) {
        const int64_t end = std::min(lk, begin + step);
        plan.add({n, h, begin, end}, r.group * work_of(r, lq, end - begin) * 5 / 2);
      }
    }
  }

  const int64_t rows = in.q.dim(0) * r.heads;
  Buffer<float> share_memory(side_by_side ? static_cast<size_t>((shares - 1) * rows * r.d) : 0);
  // Each sequence has its own sums by distance, added up in order at the end.
  int64_t span = 0;
  Buffer<int64_t> distance_begin(static_cast<size_t>(want_distance ? r.sequences : 0));
  for (int64_t n = 0; want_distance && n < r.sequences; ++n) {
    distance_begin[static_cast<size_t>(n)] = span;
    span += in.q_offsets.length(n) + in.k_offsets.length(n) + 128;
  }
  Buffer<float> distance_memory(static_cast<size_t>(span * r.heads));
  std::fill_n(distance_memory.data(), distance_memory.size(), 0.0f);

  Workspaces workspaces(kernel.backward_workspace(r.d, r.dv, longest_chunk));
  plan.run([&](const Item& item) {
    const int64_t n = item.sequence, h = item.head * r.group, q0 = in.q_offsets.begin(n);
    const int64_t chunk = chunk_of(in.k_offsets.length(n));
    kernels::AttentionBackwardTask task;
    task.head = head_of(in, r, n, h);
    task.group = r.group;
    task.q_head_stride = in.q.stride(1);
    task.out_head_stride = out.stride(1);
    task.dout_head_stride = dout.stride(1);
    task.distance_head_stride = r.distance_span;
    task.out = at(out, q0, h);
    task.dout = at(dout, q0, h);
    task.out_stride = out.stride(0);
    task.dout_stride = dout.stride(0);
    task.lse = lse + q0 * r.heads + h;
    task.lse_stride = r.heads;
    if (want_distance) {
      task.distance_head_stride = r.distance_span;
      task.ddistance_head_stride = in.q_offsets.length(n) + in.k_offsets.length(n) + 128;
      task.ddistance = distance_memory.data() + distance_begin[static_cast<size_t>(n)] * r.heads +
                       h * task.ddistance_head_stride + in.q_offsets.length(n) - 1 + 64;
    }
    for (int64_t begin = item.begin; begin < item.end; begin += chunk) {
      task.k_begin = begin;
      task.k_end = std::min(item.end, begin + chunk);
      const int64_t share = begin / chunk;
      if (side_by_side && share > 0 && g.dq.data != nullptr) {
        task.dq = share_memory.data() + ((share - 1) * rows + q0 * r.heads + h) * r.d;
        task.dq_stride = r.heads * r.d;
        task.dq_head_stride = r.d;
      } else {
        task.dq = at(g.dq, q0, h);
        task.dq_stride = g.dq.stride(0);
        task.dq_head_stride = g.dq.stride(1);
        task.add_dq = share > 0;
      }
      task.dk = at(g.dk, in.k_offsets.begin(n) + begin, item.head);
      task.dv = at(g.dv, in.k_offsets.begin(n) + begin, item.head);
      task.dk_stride = g.dk.stride(0);
      task.dv_stride = g.dv.stride(0);
      kernel.backward(task, workspaces.mine());
    }
  });

  if (side_by_side && g.dq.data != nullptr) add_shares(in, r, share_memory.data(), g.dq);
  if (want_distance) {
    Buffer<float> total(static_cast<size_t>(r.heads * r.distance_span));
    std::fill_n(total.data(), total.size(), 0.0f);
    for (int64_t n = 0; n < r.sequences; ++n) {
      const int64_t width = in.q_offsets.length(n) + in.k_offsets.length(n) + 128;
      const int64_t zero = in.q_offsets.length(n) - 1 + 64;
      for (int64_t h = 0; h < r.heads; ++h) {
        const float* from =
            distance_memory.data() + distance_begin[static_cast<size_t>(n)] * r.heads + h * width;
        float* to = total.data() + h * r.distance_span + r.distance_zero - zero;
        for (int64_t p = 64; p < width - 64; ++p) to[p] += from[p];
      }
    }
    distance_gradient(in, r, total.data(), g.dtable, g.dslopes);
  }
  if (g.dsinks != nullptr) sink_gradient(in, r, out, lse, dout, g.dsinks);
}

}  // namespace fovea
