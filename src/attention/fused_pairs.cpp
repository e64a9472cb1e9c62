#include "attention/fused_pairs.hpp"

#include <cmath>
#include <vector>

#include "attention/bias_bands.hpp"
#include "attention/bias_gradient.hpp"
#include "attention/distance_sums.hpp"
#include "attention/schedule.hpp"
#include "attention/sequence.hpp"
#include "attention/sink.hpp"
#include "fovea/kernels/convert.hpp"

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
void sink_gradient(const AttentionInputs& in, const Resolved& r, const SoftmaxRow* softmax,
                   const float* delta, float* dsinks) {
  for (int64_t h = 0; h < r.heads; ++h) {
    double sum = 0;
    for (int64_t t = 0; t < in.q_offsets.total(); ++t) {
      const int64_t row = t * r.heads + h;
      sum += static_cast<double>(delta[row]) * sink_weight(in.sinks[static_cast<size_t>(h)], softmax[row]);
    }
    dsinks[h] -= static_cast<float>(sum);
  }
}

// As fused_backward: key chunks side by side with shares of dQ when sequences are few, one after the other
// otherwise; sequences and heads that share elements of a bias in bundles.
class PairBackward {
 public:
  PairBackward(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
               const Resolved& r, const SoftmaxRow* softmax, const float* delta,
               HeadsView<const BFloat16> dout, const PairGradients& g)
      : kernel_(kernel),
        x_(x),
        in_(in),
        r_(r),
        softmax_(softmax),
        delta_(delta),
        dout_(dout),
        g_(g),
        distances_(in, r, g.rest),
        bias_(g.rest.dbias, in, r, distances_.wanted()) {}

  void run() {
    zero_unseen();
    if (bias_.in_bands()) return run_bands();
    int64_t chunks_total = 0, longest_chunk = 1, shares = 0;
    for (int64_t n = 0; n < r_.sequences; ++n) {
      const int64_t lk = in_.k_offsets.length(n), chunk = chunk_of(lk);
      const int64_t chunks = (lk + chunk - 1) / chunk;
      chunks_total += chunks;
      longest_chunk = std::max(longest_chunk, std::min(lk, chunk));
      shares = std::max(shares, chunks);
    }
    side_by_side_ = shares > 1 && !distances_.wanted() && bias_.chunks_apart() &&
                    r_.sequences * r_.kv_heads < 4 * get_num_threads();
    const int64_t rows = in_.q_offsets.total() * r_.heads;
    if (side_by_side_) share_memory_ = Buffer<float>(static_cast<size_t>((shares - 1) * rows * r_.d));
    Plan plan((side_by_side_ ? chunks_total : r_.sequences) * r_.kv_heads + 1);
    fill(plan);
    Workspaces workspaces(kernel_.backward_workspace(r_.d, r_.dv, longest_chunk));
    Buffer<kernels::AttentionHead> heads(static_cast<size_t>(r_.group * get_num_threads()));
    plan.run([&](const Item& item) {
      kernels::AttentionHead* mine = heads.data() + thread_index() * r_.group;
      const auto sequences = bias_.sequences(item.sequence), kv_heads = bias_.kv_heads(item.head);
      bias_.begin_bundle(item.sequence, item.head);
      for (int64_t n = sequences.begin; n < sequences.end; ++n) {
        for (int64_t h = kv_heads.begin; h < kv_heads.end; ++h) run_item(item, n, h, mine, workspaces.mine());
      }
      bias_.end_bundle(item.sequence, item.head);
    });
    if (side_by_side_ && g_.dq.data != nullptr) add_shares(in_, r_, share_memory_.data(), g_.dq);
    distances_.finish();
    bias_.finish();
  }

 private:
  bool empty(int64_t n) const { return in_.q_offsets.length(n) == 0 || in_.k_offsets.length(n) == 0; }
  int64_t work(int64_t n, int64_t keys) const {
    return r_.group * work_of(r_, in_.q_offsets.length(n), keys) * 5 / 2;
  }

  // Float32 sums of dK or dV over bands, where the results themselves are bf16.
  struct Wide {
    Buffer<float> memory;
    HeadsView<float> view{};
  };
  Wide widen(const PairOutput& x) const {
    Wide wide;
    wide.view = x.wide;
    if (x.half.data == nullptr) return wide;
    const int64_t rows = in_.k_offsets.total(), width = x.half.dim(2);
    wide.memory = Buffer<float>(static_cast<size_t>(rows * r_.kv_heads * width));
    wide.view = contiguous_view<float, 3>(wide.memory.data(), {rows, r_.kv_heads, width});
    return wide;
  }
  void round(const Wide& from, const PairOutput& to) const {
    if (to.half.data == nullptr) return;
    parallel_for(in_.k_offsets.total(), 64, [&](int64_t begin, int64_t end) {
      for_tokens(in_.k_offsets, begin, end, [&](int64_t n, int64_t j, int64_t) {
        if (empty(n)) return;
        for (int64_t h = 0; h < r_.kv_heads; ++h) {
          const float* x = row_of(from.view, in_.k_offsets, n, j, h);
          kernels::to_bf16(from.view.dim(2), x, row_of(to.half, in_.k_offsets, n, j, h));
        }
      });
    });
  }

  void run_bands() {
    const Wide dk = widen(g_.dk), dv = widen(g_.dv);
    BiasBands bands(in_, r_, g_.rest.dbias, g_.dq, dk.view, dv.view);
    Workspaces workspaces(kernel_.backward_workspace(r_.d, r_.dv, bands.longest_chunk()));
    Buffer<kernels::AttentionHead> heads(static_cast<size_t>(r_.group * get_num_threads()));
    bands.run([&](const BandPart& part, const BandPart*) {
      const int64_t n = part.sequence, h = part.kv_head;
      kernels::PairBackwardTask task = task_of(n, h, heads.data() + thread_index() * r_.group);
      task.q_begin = part.band_rows.first;
      task.q_end = part.band_rows.end;
      bands.place(part, task);
      if (part.idle()) {
        if (part.chunk == 0) zero_queries(n, h, part.band_rows);
        return;
      }
      const BiasBands::Keys keys = bands.place_keys(part);
      task.dk_wide = keys.dk;
      task.dv_wide = keys.dv;
      task.dk_stride = keys.dk_stride;
      task.dv_stride = keys.dv_stride;
      task.add_keys = keys.add;
      kernel_.backward(task, workspaces.mine());
    });
    round(dk, g_.dk);
    round(dv, g_.dv);
  }

  void zero_queries(int64_t n, int64_t kv_head, Rows rows) const {
    if (g_.dq.data == nullptr) return;
    for (int64_t m = kv_head * r_.group; m < (kv_head + 1) * r_.group; ++m) {
      for (int64_t i = rows.first; i < rows.end; ++i)
        std::fill_n(row_of(g_.dq, in_.q_offsets, n, i, m), r_.d, 0.0f);
    }
  }

  // Of sequences without queries or keys, which no kernel will write.
  void zero_unseen() const {
    for (int64_t n = 0; n < r_.sequences; ++n) {
      if (!empty(n)) continue;
      for (int64_t h = 0; h < r_.kv_heads; ++h) {
        zero_output(g_.dk, in_.k_offsets, n, h);
        zero_output(g_.dv, in_.k_offsets, n, h);
        for (int64_t m = h * r_.group; m < (h + 1) * r_.group; ++m)
          zero_output({{}, g_.dq}, in_.q_offsets, n, m);
      }
    }
  }

  // An item is a bundle of sequences and key heads (of one each unless they share elements of dbias).
  void fill(Plan& plan) const {
    for (int64_t a = 0; a < bias_.sequence_bundles(); ++a) {
      for (int64_t b = 0; b < bias_.head_bundles(); ++b) {
        if (side_by_side_) {  // bundles of one
          if (empty(a)) continue;
          const int64_t lk = in_.k_offsets.length(a), step = chunk_of(lk);
          for (int64_t begin = 0; begin < lk; begin += step) {
            const int64_t end = std::min(lk, begin + step);
            plan.add({a, b, begin, end}, work(a, end - begin));
          }
          continue;
        }
        const auto sequences = bias_.sequences(a), kv_heads = bias_.kv_heads(b);
        int64_t total = 0;
        for (int64_t n = sequences.begin; n < sequences.end; ++n) total += work(n, in_.k_offsets.length(n));
        plan.add({a, b, 0, 0}, total * (kv_heads.end - kv_heads.begin));
      }
    }
  }

  // A task of all but its keys, its gradients of q, k and v and the gradient of a bias.
  kernels::PairBackwardTask task_of(int64_t n, int64_t kv_head, kernels::AttentionHead* heads) {
    const int64_t h = kv_head * r_.group, q0 = in_.q_offsets.begin(n);
    for (int64_t m = 0; m < r_.group; ++m) heads[m] = head_of(in_, r_, n, h + m);
    kernels::PairBackwardTask task;
    task.heads = heads;
    task.group = r_.group;
    task.q_end = in_.q_offsets.length(n);
    task.q = row_of(x_.q, in_.q_offsets, n, 0, h);
    task.k = row_of(x_.k, in_.k_offsets, n, 0, kv_head);
    task.v = row_of(x_.v, in_.k_offsets, n, 0, kv_head);
    task.dout = row_of(dout_, in_.q_offsets, n, 0, h);
    task.q_stride = x_.q.stride(0);
    task.k_stride = x_.k.stride(0);
    task.v_stride = x_.v.stride(0);
    task.dout_stride = dout_.stride(0);
    task.q_head_stride = x_.q.stride(1);
    task.dout_head_stride = dout_.stride(1);
    task.softmax = softmax_ + q0 * r_.heads + h;
    task.delta = delta_ + q0 * r_.heads + h;
    task.row_stride = r_.heads;
    if (distances_.wanted()) {
      task.ddistance_head_stride = distances_.head_stride(n);
      task.ddistance = distances_.of(n, h);
    }
    return task;
  }

  void run_item(const Item& item, int64_t n, int64_t kv_head, kernels::AttentionHead* heads,
                float* workspace) {
    if (empty(n)) return;
    const int64_t h = kv_head * r_.group, lk = in_.k_offsets.length(n), chunk = chunk_of(lk);
    kernels::PairBackwardTask task = task_of(n, kv_head, heads);
    bias_.place(item.sequence, item.head, n, h, task);
    task.dk_stride = g_.dk.wide.data != nullptr ? g_.dk.wide.stride(0) : g_.dk.half.stride(0);
    task.dv_stride = g_.dv.wide.data != nullptr ? g_.dv.wide.stride(0) : g_.dv.half.stride(0);
    const int64_t keys_end = side_by_side_ ? item.end : lk;
    for (int64_t begin = item.begin; begin < keys_end; begin += chunk) {
      task.k_begin = begin;
      task.k_end = std::min(keys_end, begin + chunk);
      place_dq(in_, r_, n, h, begin / chunk, side_by_side_ ? share_memory_.data() : nullptr, g_.dq, task);
      task.dk = row_of(g_.dk.half, in_.k_offsets, n, begin, kv_head);
      task.dv = row_of(g_.dv.half, in_.k_offsets, n, begin, kv_head);
      task.dk_wide = row_of(g_.dk.wide, in_.k_offsets, n, begin, kv_head);
      task.dv_wide = row_of(g_.dv.wide, in_.k_offsets, n, begin, kv_head);
      kernel_.backward(task, workspace);
    }
  }

  const kernels::PairKernels& kernel_;
  const PairArrays& x_;
  const AttentionInputs& in_;
  const Resolved& r_;
  const SoftmaxRow* softmax_;
  const float* delta_;
  HeadsView<const BFloat16> dout_;
  const PairGradients& g_;
  DistanceSums distances_;
  BiasGradient bias_;
  bool side_by_side_ = false;
  Buffer<float> share_memory_;
};

}  // namespace

void pair_forward(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
                  const Resolved& r, const PairOutput& out, const SoftmaxOutput& softmax,
                  const Observers& observers, Insight* seen) {
  Packed packed(kernel, x, in, r);
  const Plan plan = plan_of_queries(in, r, kernel.query_chunk);
  Workspaces workspaces(
      kernel.forward_workspace(r.d, r.dv, std::min(observers.top_k, in.k_offsets.max_length())));
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
    task.lse = softmax.lse == nullptr ? nullptr : softmax.lse + row;
    task.softmax = softmax.rows == nullptr ? nullptr : softmax.rows + row;
    task.row_stride = r.heads;
    if (seen != nullptr) task.statistics = statistics_of(observers, *seen, row);
    kernel.forward(task, workspaces.mine());
  });
}

void pair_backward(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
                   const Resolved& r, const SoftmaxRow* softmax, const float* delta,
                   HeadsView<const BFloat16> dout, const PairGradients& g) {
  PairBackward(kernel, x, in, r, softmax, delta, dout, g).run();
  if (g.rest.dsinks != nullptr) sink_gradient(in, r, softmax, delta, g.rest.dsinks);
}

}  // namespace fovea
