// Looking inside a forward pass: layers report each attention call to a sink, if there is one. What is
// reported never changes a bit of the result.
//
// Replacing what a layer attends with (a head switched off, weights fixed by hand) is not an option of the
// sink, which only sees: it will be a policy of the attention call itself, so that no layer has a second
// path.
#pragma once

#include <string>

#include "fovea/autograd/functions/attention.hpp"

namespace fovea::nn {

// One call of attention in one layer. Valid during the callback; copy what must live longer (tensors are
// handles, so a copy costs a reference count, and keeps q, k and v alive).
struct AttentionRecord {
  std::string name;  // of the layer: "layers.0.attention"
  const autograd::AttentionCall&
      call;             // inputs, spec, lse: fovea::attention_rows() gives exact rows from these
  const Insight& seen;  // what wishes() asked for
};

// What attention pooling chose: [T] weights, one softmax a sequence.
struct PoolingRecord {
  std::string name;
  const Tensor& weights;
  const Offsets& offsets;
};

class AttentionSink {
 public:
  virtual ~AttentionSink() = default;
  // What every attention call is to observe.
  virtual Observers wishes() const = 0;
  virtual void attention(const AttentionRecord& record) = 0;
  virtual void pooling(const PoolingRecord& /*record*/) {}
};

}  // namespace fovea::nn
