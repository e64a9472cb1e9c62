// How a call is cut into tasks, from shapes alone, and what each task reads.
#pragma once

#include "attention/resolve.hpp"
#include "attention/sequence.hpp"
#include "fovea/base/parallel.hpp"
#include "kernels/attention_kernels.hpp"

namespace fovea {

// Work worth a thread, in multiply-adds: about 20 microseconds.
inline constexpr int64_t kWorthThreads = 1'000'000;

// One workspace a thread, for the length of a call.
class Workspaces {
 public:
  explicit Workspaces(int64_t floats)
      : floats_((floats + 15) / 16 * 16), memory_(static_cast<size_t>(floats_ * get_num_threads())) {}
  float* mine() { return memory_.data() + thread_index() * floats_; }

 private:
  int64_t floats_;
  Buffer<float> memory_;
};

struct Item {
  int64_t sequence, head, begin, end;  // begin and end of queries (forward) or keys (backward)
};

// The items of a call. Each thread begins with a stretch of them, always the same one, so that the next pass
// over the same tokens finds them in its cache, and helps the others when it is done.
class Plan {
 public:
  explicit Plan(int64_t capacity) : items_(static_cast<size_t>(capacity)) {}
  void add(const Item& item, int64_t work) {
    items_[static_cast<size_t>(count_++)] = item;
    work_ += work;
  }
  int64_t count() const { return count_; }
  const Item& operator[](int64_t i) const { return items_[static_cast<size_t>(i)]; }

  void run(FunctionRef<void(const Item&)> body) const {
    run([&](const Item& item, const Item*) { body(item); });
  }
  // The same, told which item the thread will probably do next; null: not known.
  void run(FunctionRef<void(const Item&, const Item*)> body) const;

 private:
  Buffer<Item> items_;
  int64_t count_ = 0, work_ = 0;
};

// Whether a call's tokens fill so much more than a second-level cache that items pay for fetching what comes
// next. Below, that costs 8 % of forward at 64 tokens (AMD Zen 5, 1 MiB a core); above, it halves it.
bool lies_far(const AttentionInputs& in, const Resolved& r);

// What the kernels read of sequence n and query head h.
kernels::AttentionHead head_of(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h);

// Multiply-adds of forward over the scores of `queries` by `keys`, at most.
int64_t work_of(const Resolved& r, int64_t queries, int64_t keys);

// The items of a forward pass: chunks of queries, those with most to do under a causal mask (the last) first.
Plan plan_of_queries(const AttentionInputs& in, const Resolved& r, int64_t query_chunk);

// How a sequence's keys are cut in backward: from its own shape alone.
int64_t chunk_of(int64_t keys);

// How it is cut where heads share the gradient of a bias (bias_bands.hpp): into bands of queries and chunks
// of keys, about equal, in whole blocks of 64.
struct BandCut {
  int64_t queries, keys;
};
BandCut band_cut(int64_t queries, int64_t keys);

// Whether dS of a head is small enough (256 KiB) that bands are not worth it.
bool is_short(int64_t queries, int64_t keys);

// Whether all heads share a bias that kernels can copy to their tiles.
inline bool lies_for_tiles(const ScoresView<const float>& bias) {
  return bias.stride(1) == 0 && bias.stride(2) != 0 && bias.stride(3) == 1;
}

// The queries [first, end) of a sequence that may see the keys [begin, end) of a chunk, by causality and
// window, rounded outwards to blocks of 64; first = end when none does.
struct Rows {
  int64_t first, end;
};
Rows rows_seeing(const Resolved& r, int64_t lq, int64_t lk, int64_t begin, int64_t end);

// dq += the shares of the key chunks after the first, in order; share s of row t and head h at
// shares[((s − 1)·Tq·H + t·H + h)·D]. Of a share only the rows that see its keys are read.
void add_shares(const AttentionInputs& in, const Resolved& r, const float* shares,
                const HeadsView<float>& dq);
// The same of chunks of so many keys in sequence n.
void add_shares(const AttentionInputs& in, const Resolved& r, const float* shares, const HeadsView<float>& dq,
                FunctionRef<int64_t(int64_t n)> chunk_of_sequence);

// Gives a backward task of sequence n and query heads from h on the place of its dQ: that of share `share` of
// the key chunks, or, for the first and where `shares` is null, dq itself, added to after the first chunk.
template <class Task>
void place_dq(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h, int64_t share,
              float* shares, const HeadsView<float>& dq, Task& task) {
  if (shares != nullptr && share > 0 && dq.data != nullptr) {
    const int64_t rows = in.q_offsets.total() * r.heads, first = in.q_offsets.begin(n) * r.heads + h;
    task.dq = shares + ((share - 1) * rows + first) * r.d;
    task.dq_stride = r.heads * r.d;
    task.dq_head_stride = r.d;
  } else {
    task.dq = row_of(dq, in.q_offsets, n, 0, h);
    task.dq_stride = dq.stride(0);
    task.dq_head_stride = dq.stride(1);
    task.add_dq = share > 0;
  }
}

// Where the row statistics of a sequence and head go; `row` is its first element of [T, H].
kernels::AttentionStatistics statistics_of(const Observers& observers, Insight& seen, int64_t row);

// Where the sums over weights of sequence n and head h go.
kernels::AttentionWeightSums sums_of(const AttentionInputs& in, const Observers& observers, Insight& seen,
                                     int64_t n, int64_t h);

}  // namespace fovea
