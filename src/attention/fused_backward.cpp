// Backward: items are key heads of sequences. A few long sequences are cut into key chunks that run side by
// side, each with its own share of dQ, added in order afterwards; many sequences do the same chunks one after
// the other. Both give the same bits.
#include "attention/bias_bands.hpp"
#include "attention/bias_gradient.hpp"
#include "attention/distance_sums.hpp"
#include "attention/fused.hpp"
#include "attention/schedule.hpp"
#include "attention/sequence.hpp"
#include "attention/sink.hpp"

namespace fovea {
namespace {

// The gradient of the sinks: each is a key whose value is 0, so dS = −p·δ.
void sink_gradient(const AttentionInputs& in, const Resolved& r, const OutputGradient& output,
                   float* dsinks) {
  parallel_for(r.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      double sum = 0;
      for_tokens(in.q_offsets, 0, in.q.dim(0), [&](int64_t n, int64_t i, int64_t t) {
        const float* o = row_of(output.out, in.q_offsets, n, i, h);
        const float* g = row_of(output.dout, in.q_offsets, n, i, h);
        const int64_t row = t * r.heads + h;
        double delta = output.dlse == nullptr ? 0.0 : -static_cast<double>(output.dlse[row]);
        for (int64_t c = 0; c < r.dv; ++c) delta += static_cast<double>(o[c]) * static_cast<double>(g[c]);
        sum += delta * sink_weight(r.sinks[h], output.softmax[row]);
      });
      dsinks[h] -= static_cast<float>(sum);
    }
  });
}

void zero_rows(const HeadsView<float>& x, const Offsets& offsets, int64_t n, int64_t h, int64_t begin,
               int64_t end) {
  if (x.data == nullptr) return;
  for (int64_t i = begin; i < end; ++i) std::fill_n(row_of(x, offsets, n, i, h), x.dim(2), 0.0f);
}

class Backward {
 public:
  Backward(const AttentionInputs& in, const Resolved& r, const OutputGradient& output,
           const AttentionGradients& g)
      : in_(in),
        r_(r),
        output_(output),
        g_(g),
        kernel_(kernels::attention_kernels()),
        distances_(in, r, g),
        bias_(g.dbias, in, r, distances_.wanted()) {}

  void run() {
    zero_unseen();
    if (bias_.in_bands()) return run_bands();
    int64_t chunks_total = 0, longest_chunk = 1;
    for (int64_t n = 0; n < r_.sequences; ++n) {
      const int64_t lk = in_.k_offsets.length(n), chunk = chunk_of(lk);
      const int64_t chunks = (lk + chunk - 1) / chunk;
      chunks_total += chunks;
      longest_chunk = std::max(longest_chunk, std::min(lk, chunk));
      shares_ = std::max(shares_, chunks);
    }
    side_by_side_ = shares_ > 1 && !distances_.wanted() && bias_.chunks_apart() &&
                    r_.sequences * r_.kv_heads < 4 * get_num_threads();
    const int64_t rows = in_.q.dim(0) * r_.heads;
    if (side_by_side_) share_memory_ = Buffer<float>(static_cast<size_t>((shares_ - 1) * rows * r_.d));

    Plan plan((side_by_side_ ? chunks_total : r_.sequences) * r_.kv_heads + 1);
    fill(plan);
    Workspaces workspaces(kernel_.backward_workspace(r_.d, r_.dv, longest_chunk));
    Buffer<AttentionHead> heads(static_cast<size_t>(2 * r_.group * get_num_threads()));
    const bool far = lies_far(in_, r_);
    plan.run([&](const Item& item, const Item* next) {
      AttentionHead* mine = heads.data() + 2 * thread_index() * r_.group;
      bias_.begin_bundle(item.sequence, item.head);
      for (Member m = first_member(item); m.sequence >= 0;) {
        Member then = next_member(item, m);
        AttentionBackwardTask task = task_of(m.sequence, m.kv_head, mine), soon;
        bias_.place(item.sequence, item.head, m.sequence, m.kv_head * r_.group, task);
        if (far) {
          const bool here = then.sequence >= 0;
          const Member after = here || next == nullptr ? then : first_member(*next);
          if (after.sequence >= 0) {
            const Item& its = here ? item : *next;
            soon = task_of(after.sequence, after.kv_head, mine + r_.group);
            place_keys(its, after.sequence, after.kv_head, its.begin, soon);
            task.next = &soon;
          }
        }
        run_task(item, m.sequence, m.kv_head, task, workspaces.mine());
        m = then;
      }
      bias_.end_bundle(item.sequence, item.head);
    });
    if (side_by_side_ && g_.dq.data != nullptr) add_shares(in_, r_, share_memory_.data(), g_.dq);
    distances_.finish();
    bias_.finish();
  }

 private:
  using AttentionHead = kernels::AttentionHead;
  using AttentionBackwardTask = kernels::AttentionBackwardTask;

  // A sequence and key head of an item's bundle; sequence −1: no more.
  struct Member {
    int64_t sequence, kv_head;
  };
  Member first_member(const Item& item) const {
    const auto kv_heads = bias_.kv_heads(item.head);
    return nonempty_from(item, bias_.sequences(item.sequence).begin, kv_heads.begin);
  }
  Member next_member(const Item& item, Member m) const {
    const auto kv_heads = bias_.kv_heads(item.head);
    if (m.kv_head + 1 < kv_heads.end) return {m.sequence, m.kv_head + 1};
    return nonempty_from(item, m.sequence + 1, kv_heads.begin);
  }
  Member nonempty_from(const Item& item, int64_t n, int64_t kv_head) const {
    const int64_t end = bias_.sequences(item.sequence).end;
    while (n < end && empty(n)) ++n;
    return {n < end ? n : -1, kv_head};
  }

  bool empty(int64_t n) const { return in_.q_offsets.length(n) == 0 || in_.k_offsets.length(n) == 0; }

  void run_bands() {
    BiasBands bands(in_, r_, g_.dbias, g_.dq, g_.dk, g_.dv);
    Workspaces workspaces(kernel_.backward_workspace(r_.d, r_.dv, bands.longest_chunk()));
    Buffer<AttentionHead> heads(static_cast<size_t>(2 * r_.group * get_num_threads()));
    const bool far = lies_far(in_, r_);
    const auto task_of_part = [&](const BandPart& part, AttentionHead* mine) {
      AttentionBackwardTask task = task_of(part.sequence, part.kv_head, mine);
      task.q_begin = part.rows.first;
      task.q_end = part.rows.end;
      bands.place(part, task);
      return task;
    };
    bands.run([&](const BandPart& part, const BandPart* next) {
      AttentionHead* mine = heads.data() + 2 * thread_index() * r_.group;
      AttentionBackwardTask task = task_of_part(part, mine), then;
      if (part.chunk == 0) zero_unseeing(part.sequence, part.kv_head, task, part.band_rows);
      if (part.idle()) return;
      const BiasBands::Keys keys = bands.place_keys(part);
      task.dk = keys.dk;
      task.dv = keys.dv;
      task.dk_stride = keys.dk_stride;
      task.dv_stride = keys.dv_stride;
      task.add_keys = keys.add;
      if (far && next != nullptr) {
        then = task_of_part(*next, mine + r_.group);
        task.next = &then;
      }
      kernel_.backward(task, workspaces.mine());
    });
  }

  // Of sequences without queries or keys, which no kernel will write.
  void zero_unseen() const {
    for (int64_t n = 0; n < r_.sequences; ++n) {
      if (!empty(n)) continue;
      for (int64_t h = 0; h < r_.kv_heads; ++h) {
        zero_rows(g_.dk, in_.k_offsets, n, h, 0, in_.k_offsets.length(n));
        zero_rows(g_.dv, in_.k_offsets, n, h, 0, in_.k_offsets.length(n));
        for (int64_t m = h * r_.group; m < (h + 1) * r_.group; ++m)
          zero_rows(g_.dq, in_.q_offsets, n, m, 0, in_.q_offsets.length(n));
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
  int64_t work(int64_t n, int64_t keys) const {
    return r_.group * work_of(r_, in_.q_offsets.length(n), keys) * 5 / 2;
  }

  // A task of all but its keys and the gradient of a bias.
  AttentionBackwardTask task_of(int64_t n, int64_t kv_head, AttentionHead* heads) {
    const int64_t h = kv_head * r_.group, q0 = in_.q_offsets.begin(n);
    for (int64_t m = 0; m < r_.group; ++m) heads[m] = head_of(in_, r_, n, h + m);
    AttentionBackwardTask task;
    task.heads = heads;
    task.group = r_.group;
    const HeadsView<const float>&out = output_.out, &dout = output_.dout;
    task.out_head_stride = out.stride(1);
    task.dout_head_stride = dout.stride(1);
    task.out = row_of(out, in_.q_offsets, n, 0, h);
    task.dout = row_of(dout, in_.q_offsets, n, 0, h);
    task.out_stride = out.stride(0);
    task.dout_stride = dout.stride(0);
    task.softmax = output_.softmax + q0 * r_.heads + h;
    task.dlse = output_.dlse == nullptr ? nullptr : output_.dlse + q0 * r_.heads + h;
    task.row_stride = r_.heads;
    if (distances_.wanted()) {
      task.ddistance_head_stride = distances_.head_stride(n);
      task.ddistance = distances_.of(n, h);
    }
    return task;
  }

  // The keys of the chunk that begins at `begin`, and where their gradients go.
  void place_keys(const Item& item, int64_t n, int64_t kv_head, int64_t begin, AttentionBackwardTask& task) {
    const int64_t lk = in_.k_offsets.length(n), chunk = chunk_of(lk);
    task.k_begin = begin;
    task.k_end = std::min(side_by_side_ ? item.end : lk, begin + chunk);
    const Rows rows = rows_seeing(r_, in_.q_offsets.length(n), lk, task.k_begin, task.k_end);
    task.q_begin = rows.first;
    task.q_end = rows.end;
    task.dk = row_of(g_.dk, in_.k_offsets, n, begin, kv_head);
    task.dv = row_of(g_.dv, in_.k_offsets, n, begin, kv_head);
    task.dk_stride = g_.dk.stride(0);
    task.dv_stride = g_.dv.stride(0);
  }

  void run_task(const Item& item, int64_t n, int64_t kv_head, AttentionBackwardTask& task, float* workspace) {
    const int64_t lk = in_.k_offsets.length(n), chunk = chunk_of(lk);
    const int64_t keys_end = side_by_side_ ? item.end : lk;
    for (int64_t begin = item.begin; begin < keys_end; begin += chunk) {
      place_keys(item, n, kv_head, begin, task);
      place_dq(in_, r_, n, kv_head * r_.group, begin / chunk, side_by_side_ ? share_memory_.data() : nullptr,
               g_.dq, task);
      if (begin == 0) zero_unseeing(n, kv_head, task, {0, in_.q_offsets.length(n)});
      kernel_.backward(task, workspace);
    }
  }

  // dQ of the queries among `rows` that do not see the first chunk, which no kernel writes.
  void zero_unseeing(int64_t n, int64_t kv_head, const AttentionBackwardTask& task, Rows rows) const {
    if (task.dq == nullptr) return;
    for (int64_t m = kv_head * r_.group; m < (kv_head + 1) * r_.group; ++m) {
      zero_rows(g_.dq, in_.q_offsets, n, m, rows.first, task.q_begin);
      zero_rows(g_.dq, in_.q_offsets, n, m, task.q_end, rows.end);
    }
  }

  const AttentionInputs& in_;
  const Resolved& r_;
  const OutputGradient& output_;
  const AttentionGradients& g_;
  const kernels::AttentionKernels& kernel_;
  DistanceSums distances_;
  BiasGradient bias_;
  bool side_by_side_ = false;
  int64_t shares_ = 0;
  Buffer<float> share_memory_;
};

}  // namespace

void fused_backward(const AttentionInputs& in, const Resolved& r, const OutputGradient& output,
                    const AttentionGradients& g) {
  Backward(in, r, output, g).run();
  if (g.dsinks != nullptr) sink_gradient(in, r, output, g.dsinks);
}

void scale_gradient(const AttentionInputs& in, Resolved& r, const OutputGradient& output,
                    HeadsView<const float> dq, float* dscales) {
  // Where the scale is 0 so is dq: that of a unit scale is computed beside it.
  Tensor unscaled;
  if (std::find(in.scales.begin(), in.scales.end(), 0.0f) != in.scales.end()) {
    unscaled = Tensor::empty({in.q.dim(0), r.heads, r.d});
    r.unit_gradient_scale = true;
    fused_backward(in, r, output,
                   {.dq = contiguous_view<float, 3>(unscaled.data(), {in.q.dim(0), r.heads, r.d})});
    r.unit_gradient_scale = false;
  }
  parallel_for(r.heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      const float scale = in.scales[static_cast<size_t>(h)];
      double sum = 0;
      for_tokens(in.q_offsets, 0, in.q.dim(0), [&](int64_t n, int64_t i, int64_t t) {
        const float* q = row_of(in.q, in.q_offsets, n, i, h);
        const float* g =
            scale == 0.0f ? unscaled.data() + (t * r.heads + h) * r.d : row_of(dq, in.q_offsets, n, i, h);
        for (int64_t c = 0; c < r.d; ++c) {
          // Of a query that sees no key, q may hold anything.
          if (g[c] != 0.0f) sum += static_cast<double>(q[c]) * static_cast<double>(g[c]);
        }
      });
      dscales[h] += static_cast<float>(scale == 0.0f ? sum : sum / static_cast<double>(scale));
    }
  });
}

}  // namespace fovea
