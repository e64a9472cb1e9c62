// The gradient of a broadcast bias: who may write which elements when. Sequences and key heads that share
// elements are cut, from shapes alone, into bundles that one task does in order. A bundle of short sequences
// adds up in tiles (kernels::ScoreTiles) that go to dbias when it is done, or at the end, in order, where
// several bundles share elements; a bundle of others adds to dbias at once, or to a copy of it. Long
// sequences whose heads share elements are not bundled but done in bands (bias_bands.hpp).
#pragma once

#include "attention/resolve.hpp"
#include "kernels/attention_kernels.hpp"

namespace fovea {

class BiasGradient {
 public:
  // `distances`: gradients of biases by distance are wanted too, which cannot be done in bands.
  BiasGradient(const ScoresView<float>& to, const AttentionInputs& in, const Resolved& r, bool distances);

  bool wanted() const { return to_.data != nullptr; }
  bool in_bands() const { return way_ == Way::kBands; }
  // Whether key chunks of a sequence and head may be done side by side.
  bool chunks_apart() const { return !wanted() || (way_ == Way::kApart && to_.stride(3) != 0); }

  struct Range {
    int64_t begin, end;
  };
  int64_t sequence_bundles() const { return sequence_bundles_; }
  int64_t head_bundles() const { return head_bundles_; }
  Range sequences(int64_t a) const { return cut(a, sequence_bundles_, sequences_); }
  Range kv_heads(int64_t b) const { return cut(b, head_bundles_, kv_heads_); }

  void begin_bundle(int64_t a, int64_t b);
  void end_bundle(int64_t a, int64_t b);
  // Where bundle (a, b) adds for sequence n and query heads from h on.
  template <class Task>
  void place(int64_t a, int64_t b, int64_t n, int64_t h, Task& task) {
    if (!wanted()) return;
    if (way_ == Way::kTiles) {
      task.bias_sums = sums_of(a, b, 0);
      task.bias_sums_head_stride = to_.stride(1) == 0 ? 0 : sums_size_;
      task.bias_tiles = bias_tiles(n, h);
      return;
    }
    const ScoresView<float> to = of(a, b, n, h);
    task.dbias = to.data;
    task.dbias_head_stride = to.stride(1);
    task.dbias_query_stride = to.stride(2);
    task.dbias_key_stride = to.stride(3);
  }
  void finish();

 private:
  enum class Way { kApart, kCopies, kTiles, kBands };

  static Range cut(int64_t i, int64_t parts, int64_t n) { return {i * n / parts, (i + 1) * n / parts}; }
  void bundle(int64_t most);
  void make_copies();
  void make_tiles();
  // Of a region, the elements that a bundle's sequences and heads share, `matrix` of the group's.
  kernels::ScoreTiles sums_of(int64_t a, int64_t b, int64_t matrix);
  // The thread's copy of the bias of sequence n and heads from h on, as far as it is made.
  kernels::ScoreTiles bias_tiles(int64_t n, int64_t h);
  void end_tiles(int64_t a, int64_t b, int64_t begin, int64_t end);
  void add_copies();
  ScoresView<float> of(int64_t a, int64_t b, int64_t n, int64_t h);

  ScoresView<float> to_;
  const AttentionInputs& in_;
  const kernels::AttentionKernels& kernel_;
  int64_t sequences_, kv_heads_, group_;
  int64_t longest_q_ = 0, longest_k_ = 0;
  int64_t sequence_bundles_, head_bundles_;
  bool shared_sequences_ = false, shared_heads_ = false;
  Way way_ = Way::kApart;
  int64_t copies_ = 1;      // bundles that share elements
  ScoresView<float> copy_;  // the layout of one copy
  int64_t copy_size_ = 0;   // kCopies: of a copy
  int64_t sums_size_ = 0;   // kTiles: of the sums of one matrix
  int64_t matrices_ = 1;    // kTiles: of a bundle
  Buffer<float> memory_;
  struct Copied {
    const float* bias;
    int64_t queries, keys;
  };
  Buffer<Copied> copied_;  // of each thread; none: the bias is not copied
  Buffer<float> bias_memory_;
};

}  // namespace fovea
