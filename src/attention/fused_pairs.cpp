#include "attention/fused_pairs.hpp"

#include <cmath>
#include <vector>

#include "attention/schedule.hpp"
#include "attention/sequence.hpp"

namespace fovea {
namespace {

constexpr int64_t kPackRows = 1024;  // of one packing task, a multiple of the key block

// Keys and values of all heads, packed; one after the other.
class Packed {
 public:
  Packed(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
         const Resolved& r)
      : begin_(static_cast<size_t>(r.sequences)), kv_heads_(r.kv_heads) {
    int64_t floats = 0, tasks = 0;
    for (int64_t n = 0; n < r.sequences; ++n) {
      const int64_t lk = in.k_offsets.length(n);
      begin_[static_cast<size_t>(n)] = {floats, round_up(kernel.packed_keys(lk, r.d)),
                                        round_up(kernel.packed_values(lk, r.dv))};
      floats += r.kv_heads * (begin_[static_cast<size_t>(n)].keys + begin_[static_cast<size_t>(n)].values);
      tasks += (lk + kPackRows - 1) / kPackRows;
    }
    memory_ = Buffer<float>(static_cast<size_t>(floats));
    Plan plan(tasks * r.kv_heads);
    for (int64_t n = 0; n < r.sequences; ++n) {
      const int64_t lk = in.k_offsets.length(n);
      for (int64_t h = 0; h < r.kv_heads; ++h) {
        for (int64_t begin = 0; begin < lk; begin += kPackRows) {
          const int64_t end = std::min(lk, begin + kPackRows);
          plan.add({n, h, begin, end}, (end - begin) * (r.d + r.dv));
        }
      }
    }
    Workspaces workspaces(kernel.forward_workspace(r.d, r.dv, 0));
    plan.run([&](const Item& item) {
      kernels::PairPackTask task{row_of(x.k, in.k_offsets, item.sequence, 0, item.head),
                                 x.k.stride(0),
                                 r.d,
                                 in.k_offsets.length(item.sequence),
                                 item.begin,
                                 item.end,
                                 keys(item.sequence, item.head)};
      kernel.pack_keys(task, workspaces.mine());
      task.x = row_of(x.v, in.k_offsets, item.sequence, 0, item.head);
      task.stride = x.v.stride(0);
      task.width = r.dv;
      task.packed = values(item.sequence, item.head);
      kernel.pack_values(task, workspaces.mine());
    });
  }
  float* keys(int64_t n, int64_t h) {
    const Place& place = begin_[static_cast<size_t>(n)];
    return memory_.data() + place.begin + h * place.keys;
  }
  float* values(int64_t n, int64_t h) {
    const Place& place = begin_[static_cast<size_t>(n)];
    return memory_.data() + place.begin + kv_heads_ * place.keys + h * place.values;
  }

 private:
  struct Place {
    int64_t begin, keys, values;  // of a sequence; floats of a head
  };
  static int64_t round_up(int64_t floats) { return (floats + 15) / 16 * 16; }

  Buffer<Place> begin_;
  Buffer<float> memory_;
  int64_t kv_heads_;
};

void zero_output(const PairOutput& x, const Offsets& offsets, int64_t n, int64_t h) {
  for (int64_t i = 0; i < offsets.length(n); ++i) {
    if (x.half.data != nullptr) std::fill_n(row_of(x.half, offsets, n, i, h), x.half.dim(2), BFloat16());
    if (x.wide.data != nullptr) std::fill_n(row_of(x.wide, offsets, n, i, h), x.wide.dim(2), 0.0f);
  }
}

// A sink is a key whose value is 0: dS = −p·δ.
void sink_gradient(const AttentionInputs& in, const Resolved& r, const float* lse, const float* delta,
                   float* dsinks) {
  for (int64_t h = 0; h < r.heads; ++h) {
    const auto sink = static_cast<double>(in.sinks[static_cast<size_t>(h)]);
    double sum = 0;
    for (int64_t t = 0; t < in.q_offsets.total(); ++t) {
      const int64_t row = t * r.heads + h;
      sum += static_cast<double>(delta[row]) * std::exp(sink - static_cast<double>(lse[row]));
    }
    dsinks[h] -= static_cast<float>(sum);
  }
}

}  // namespace

void pair_forward(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
                  const Resolved& r, const PairOutput& out, float* lse, const Observers& observers,
                  Insight* seen) {
  Packed packed(kernel, x, in, r);
  const Plan plan = plan_of_queries(in, r, kernel.query_chunk);
  Workspaces workspaces(kernel.forward_workspace(r.d, r.dv, observers.top_k));
  plan.run([&](const Item& item) {
    const int64_t n = item.sequence, q0 = in.q_offsets.begin(n), row = q0 * r.heads + item.head;
    kernels::PairForwardTask task;
    task.head = head_of(in, r, n, item.head);
    task.q = row_of(x.q, in.q_offsets, n, 0, item.head);
    task.q_stride = x.q.stride(0);
    task.keys = packed.keys(n, item.head / r.group);
    task.values = packed.values(n, item.head / r.group);
    task.q_begin = item.begin;
    task.q_end = item.end;
    task.out = row_of(out.half, in.q_offsets, n, 0, item.head);
    task.out_wide = row_of(out.wide, in.q_offsets, n, 0, item.head);
    task.out_stride = out.wide.data != nullptr ? out.wide.stride(0) : out.half.stride(0);
    task.lse = lse == nullptr ? nullptr : lse + row;
    task.row_stride = r.heads;
    if (seen != nullptr) task.statistics = statistics_of(observers, *seen, row);
    kernel.forward(task, workspaces.mine());
  });
}

void pair_backward(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
                   const Resolved& r, const float* lse, const float* delta, HeadsView<const BFloat16> dout,
                   const PairGradients& g) {
  // As fused_backward: key chunks side by side with shares of dQ when sequences are few, one after the other
  // otherwise.
  int64_t chunks_total = 0, longest_chunk = 1, shares = 0;
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lk = in.k_offsets.length(n), chunk = chunk_of(lk);
    const int64_t chunks = (lk + chunk - 1) / chunk;
    chunks_total += chunks;
    longest_chunk = std::max(longest_chunk, std::min(lk, chunk));
    shares = std::max(shares, chunks);
  }
  const bool side_by_side = shares > 1 && r.sequences * r.kv_heads < 4 * get_num_threads();
  Plan plan((side_by_side ? chunks_total : r.sequences) * r.kv_heads + 1);
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    for (int64_t h = 0; h < r.kv_heads; ++h) {
      if (lq == 0 || lk == 0) {  // no kernel will write these
        zero_output(g.dk, in.k_offsets, n, h);
        zero_output(g.dv, in.k_offsets, n, h);
        for (int64_t m = h * r.group; m < (h + 1) * r.group; ++m) {
          zero_output({{}, g.dq}, in.q_offsets, n, m);
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
  const int64_t rows = in.q_offsets.total() * r.heads;
  Buffer<float> share_memory(side_by_side ? static_cast<size_t>((shares - 1) * rows * r.d) : 0);
  Workspaces workspaces(kernel.backward_workspace(r.d, r.dv, longest_chunk));
  plan.run([&](const Item& item) {
    const int64_t n = item.sequence, h = item.head * r.group;
    const int64_t q0 = in.q_offsets.begin(n), chunk = chunk_of(in.k_offsets.length(n));
    kernels::PairBackwardTask task;
    task.head = head_of(in, r, n, h);
    task.group = r.group;
    task.distance_head_stride = r.distance_span;
    task.q = row_of(x.q, in.q_offsets, n, 0, h);
    task.k = row_of(x.k, in.k_offsets, n, 0, item.head);
    task.v = row_of(x.v, in.k_offsets, n, 0, item.head);
    task.dout = row_of(dout, in.q_offsets, n, 0, h);
    task.q_stride = x.q.stride(0);
    task.k_stride = x.k.stride(0);
    task.v_stride = x.v.stride(0);
    task.dout_stride = dout.stride(0);
    task.q_head_stride = x.q.stride(1);
    task.dout_head_stride = dout.stride(1);
    task.lse = lse + q0 * r.heads + h;
    task.delta = delta + q0 * r.heads + h;
    task.lse_stride = r.heads;
    task.dk_stride = g.dk.wide.data != nullptr ? g.dk.wide.stride(0) : g.dk.half.stride(0);
    task.dv_stride = g.dv.wide.data != nullptr ? g.dv.wide.stride(0) : g.dv.half.stride(0);
    for (int64_t begin = item.begin; begin < item.end; begin += chunk) {
      task.k_begin = begin;
      task.k_end = std::min(item.end, begin + chunk);
      place_dq(in, r, n, h, begin / chunk, side_by_side ? share_memory.data() : nullptr, g.dq, task);
      task.dk = row_of(g.dk.half, in.k_offsets, n, begin, item.head);
      task.dv = row_of(g.dv.half, in.k_offsets, n, begin, item.head);
      task.dk_wide = row_of(g.dk.wide, in.k_offsets, n, begin, item.head);
      task.dv_wide = row_of(g.dv.wide, in.k_offsets, n, begin, item.head);
      kernel.backward(task, workspaces.mine());
    }
  });
  if (side_by_side && g.dq.data != nullptr) add_shares(in, r, share_memory.data(), g.dq);
  if (g.dsinks != nullptr) sink_gradient(in, r, lse, delta, g.dsinks);
}

}  // namespace fovea
