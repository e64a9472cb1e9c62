// An attention call, kept so that its exact weights can be asked for after the model has run: O(T) memory,
// not T × T.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/attention/inputs.hpp"
#include "fovea/attention/spec.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::explain {

// Owns copies of what decides the weights; values are not kept. Reading is thread-safe.
class RecordedAttention {
 public:
  // q, k, biases and sinks of one call.
  // Dropout is left out: the weights before it are the ones to explain. ArgumentError if a rank or size does
  // not fit, and for a call with a bias, a mask, a block mask or overridden heads, which are not copied.
  RecordedAttention(const AttentionInputs& inputs, const AttentionSpec& spec);

  // H, the call's sequences of queries and of keys, and its options but for dropout.
  int64_t heads() const { return q_.dim(0); }
  const Offsets& query_offsets() const { return q_offsets_; }
  const Offsets& key_offsets() const { return k_offsets_; }
  const AttentionSpec& spec() const { return spec_; }

  // Exact weights of the packed queries [begin, end), which must be of one sequence, over all Lk keys of
  // theirs: out [end − begin, Lk]. ArgumentError for queries or a head that are not there.
  void rows(int64_t head, int64_t begin, int64_t end, float* out) const;
  // The same for one query, averaged over the heads: out [Lk].
  void head_mean(int64_t query, std::span<float> out) const;

 private:
  Tensor q_;  // [H, Tq, D]
  Tensor k_;  // [Hkv, Tk, D]
  Offsets q_offsets_, k_offsets_;
  AttentionSpec spec_;
  std::vector<float> slopes_, sinks_, scales_;
  Tensor table_;  // [H, buckets], undefined without relative bias
  RelativeBias relative_;
};

}  // namespace fovea::explain
