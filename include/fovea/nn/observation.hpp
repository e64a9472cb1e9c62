// Looking inside a forward pass: layers report each attention call to a sink, if there is one. What is
// reported never changes a bit of the result.
//
// Replacing what a layer attends with (a head switched off, weights fixed by hand) is not an option of the
// sink, which only sees: it is a policy of the attention call itself (AttentionInputs::override_heads), so
// that no layer has a second path.
#pragma once

#include <string>

#include "fovea/autograd/functions/attention.hpp"

namespace fovea::nn {

// One call of attention in one layer. Valid during the callback; copy what must live longer (tensors are
// handles, so a copy costs a reference count, and keeps q, k and v alive).
struct AttentionRecord {
  std::string name;  // of the layer: "layers.0.attention"
  const autograd::AttentionCall&
      call;             // inputs and spec: fovea::attention_rows() gives exact rows from these
  const Insight& seen;  // what wishes() asked for
};

// What attention pooling chose: [T] weights, one softmax a sequence.
struct PoolingRecord {
  std::string name;        // of the layer: "pooling"
  const Tensor& weights;   // [T], float32
  const Offsets& offsets;  // the N sequences that the rows are cut into
};

// Who watches. Derive from it, and give it to a Context. Called on the thread of the forward pass.
class AttentionSink {
 public:
  virtual ~AttentionSink() = default;
  // What every attention call is to observe.
  virtual Observers wishes() const = 0;
  // One call, as soon as it is computed; layers that read a KeyValueCache tell of none.
  virtual void attention(const AttentionRecord& record) = 0;
  // One pooling by attention; other kinds of pooling tell of none.
  virtual void pooling(const PoolingRecord& /*record*/) {}
};

}  // namespace fovea::nn
