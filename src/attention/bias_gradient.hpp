// The gradient of a broadcast bias: who may write which elements when. Sequences and key heads that share
// elements are cut, from their number alone, into bundles that one task does in order; each bundle that would
// share elements with an earlier one has a copy of its own, added in order at the end.
#pragma once

#include "attention/resolve.hpp"

namespace fovea {

class BiasGradient {
 public:
  BiasGradient(const ScoresView<float>& to, int64_t sequences, int64_t kv_heads, int64_t group);

  bool wanted() const { return to_.data != nullptr; }
  // Whether key chunks of a sequence and head may be done side by side.
  bool chunks_apart() const { return !wanted() || (!shared_ && to_.stride(3) != 0); }

  struct Range {
    int64_t begin, end;
  };
  int64_t sequence_bundles() const { return sequence_bundles_; }
  int64_t head_bundles() const { return head_bundles_; }
  Range sequences(int64_t a) const { return cut(a, sequence_bundles_, sequences_); }
  Range kv_heads(int64_t b) const { return cut(b, head_bundles_, kv_heads_); }

  // Where bundle (a, b) adds for sequence n and query head h: strides [N, H, Lq, Lk].
  ScoresView<float> of(int64_t a, int64_t b, int64_t n, int64_t h);
  void finish();

 private:
  static Range cut(int64_t i, int64_t parts, int64_t n) { return {i * n / parts, (i + 1) * n / parts}; }

  ScoresView<float> to_;
  int64_t sequences_, kv_heads_;
  int64_t sequence_bundles_, head_bundles_;
  bool shared_sequences_ = false, shared_heads_ = false, shared_ = false;
  int64_t copies_ = 1;
  ScoresView<float> copy_;  // the layout of one copy
  int64_t copy_size_ = 0;
  Buffer<float> memory_;
};

}  // namespace fovea
