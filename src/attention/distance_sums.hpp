// The gradient of a bias by distance: each sequence and head sums dS by distance on its own, in any order of
// sequences; the sums are added up in their order at the end.
#pragma once

#include "attention/resolve.hpp"

namespace fovea {

class DistanceSums {
 public:
  DistanceSums(const AttentionInputs& in, const Resolved& r, const AttentionGradients& g);

  bool wanted() const { return wanted_; }
  // Where the kernels add for sequence n and query head h, at the same index as Resolved::distance.
  float* of(int64_t n, int64_t h) {
    return memory_.data() + begin_[static_cast<size_t>(n)] * r_.heads + h * head_stride(n) + zero(n);
  }
  int64_t head_stride(int64_t n) const { return in_.q_offsets.length(n) + in_.k_offsets.length(n) + 128; }
  void finish() const;

 private:
  int64_t zero(int64_t n) const { return in_.q_offsets.length(n) - 1 + 64; }

  const AttentionInputs& in_;
  const Resolved& r_;
  float *dtable_, *dslopes_;
  bool wanted_;
  Buffer<int64_t> begin_;
  Buffer<float> memory_;
};

}  // namespace fovea
