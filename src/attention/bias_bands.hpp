// Backward of long sequences whose heads share the gradient of a bias: one task does a band of queries and a
// chunk of keys for all heads, and adds up their dS in its cache, so that dbias is written once and not once
// a head. Bands and chunks are cut from a sequence's own shape. Side by side, those after the first hold
// shares of dK and dV (bands) and of dQ (chunks) that are added in order afterwards; one after the other they
// add in that order at once. Both give the same bits.
#pragma once

#include "attention/resolve.hpp"
#include "attention/schedule.hpp"
#include "kernels/attention_kernels.hpp"

namespace fovea {

// What one call of a kernel does.
struct BandPart {
  int64_t sequence, kv_head;
  int64_t chunk, band;  // counted within the sequence
  int64_t k_begin, k_end;
  Rows band_rows;  // the band, and those of it …
  Rows rows;       // … that may see these keys
  kernels::ScoreTiles sums;
  kernels::ScoreTiles bias;  // without memory where it does not lie as the kernels ask

  // Whether no dK and dV are to be written: zeros are the first band's task.
  bool idle() const { return band > 0 && rows.first == rows.end; }
};

class BiasBands {
 public:
  // Of dq, dk and dv, shares are held where there is data.
  BiasBands(const AttentionInputs& in, const Resolved& r, const ScoresView<float>& dbias,
            const HeadsView<float>& dq, const HeadsView<float>& dk, const HeadsView<float>& dv);

  int64_t longest_chunk() const { return longest_chunk_; }
  // Calls body for every part, those that write the same elements in order, and tells it which comes next for
  // the thread (null: not known); then adds up the shares.
  using Body = FunctionRef<void(const BandPart& part, const BandPart* next)>;
  void run(Body body);

  // A part's keys and tiles, and where it writes, or adds, its dQ …
  template <class Task>
  void place(const BandPart& part, Task& task) {
    task.bias_sums = part.sums;
    task.bias_tiles = part.bias;
    task.k_begin = part.k_begin;
    task.k_end = part.k_end;
    place_dq(in_, r_, part.sequence, part.kv_head * r_.group, part.chunk,
             chunks_apart_ ? dq_shares_.data() : nullptr, dq_, task);
  }
  // … and its dK and dV.
  struct Keys {
    float *dk, *dv;  // of the part's first key; null: not wanted
    int64_t dk_stride, dv_stride;
    bool add;
  };
  Keys place_keys(const BandPart& part);

 private:
  struct Task;
  Buffer<Task> tasks_of(int64_t first, int64_t end) const;
  bool occupies_threads() const;
  void run_task(const Task& task, Body body, FunctionRef<void()> wait_for_turn);
  bool empty(int64_t n) const { return in_.q_offsets.length(n) == 0 || in_.k_offsets.length(n) == 0; }
  void add_key_shares(const HeadsView<float>& to, const Buffer<float>& shares);

  const AttentionInputs& in_;
  const Resolved& r_;
  const ScoresView<float> dbias_;
  const HeadsView<float> dq_, dk_, dv_;
  const kernels::AttentionKernels& kernel_;
  bool in_turn_;  // sequences share elements of dbias too, and add to them one after the other
  bool chunks_apart_ = false, bands_apart_ = false;
  int64_t longest_chunk_ = 1, longest_band_ = 1;
  Buffer<float> dq_shares_, dk_shares_, dv_shares_;
  int64_t tiles_size_;
  bool bias_in_tiles_;
  Workspaces tiles_;  // sums and, if it can, the bias
};

}  // namespace fovea
