// Context: what a forward pass is told besides its inputs — whether it trains, where its random numbers come
// from, who watches. One Context a forward pass; not thread-safe.
//
//   nn::Context context = nn::Context::training(seed, step);   // dropout on, numbers of this step
//   nn::Context context;                                       // inference
#pragma once

#include <cstdint>
#include <string>

#include "fovea/base/random.hpp"
#include "fovea/nn/observation.hpp"

namespace fovea::nn {

// Made for one forward pass and given down to every layer.
class Context {
 public:
  Context() = default;  // inference: no dropout
  // Inference that is watched; null: by nobody.
  explicit Context(AttentionSink* sink) : sink_(sink) {}

  // Pass number `pass` (a micro-batch, counted over the whole training run). Passes have disjoint random
  // streams: each may take 2^20 keys. Saving {seed, pass} is enough to continue exactly.
  static Context training(uint64_t seed, uint64_t pass) {
    Context context;
    context.training_ = true;
    context.key_ = {seed, kTrainingStreams | pass << 20};
    return context;
  }

  // Whether layers drop.
  bool training() const { return training_; }
  // A fresh key for one random operation. Operations ask in the order of the forward pass, so that a key
  // depends on the seed, the pass and the model alone.
  RandomKey next_key() { return {key_.seed, key_.stream + taken_++}; }
  // p while training, 0 otherwise: what to give a dropout.
  float rate(float p) const { return training_ ? p : 0.0F; }

  // Who is told of every attention call; null: nobody. It must outlive its use.
  AttentionSink* sink() const { return sink_; }
  void set_sink(AttentionSink* sink) { sink_ = sink; }

  // The name of the layer that runs, as its parameters begin: "layers.0.attention". Built on demand.
  std::string path() const;

 private:
  friend class LayerScope;
  // The upper half of the streams, so that initialisation and shuffling with the same seed never meet
  // dropout.
  static constexpr uint64_t kTrainingStreams = uint64_t{1} << 63;

  bool training_ = false;
  RandomKey key_{};
  uint64_t taken_ = 0;
  AttentionSink* sink_ = nullptr;
  const class LayerScope* innermost_ = nullptr;
};

// Names the layer that runs while it is alive. Costs a few stores: no string is made unless path() is asked
// for.
class LayerScope {
 public:
  // `name` must outlive the scope (a literal). index < 0: none.
  LayerScope(Context& context, const char* name, int64_t index = -1)
      : context_(context), outer_(context.innermost_), name_(name), index_(index) {
    context.innermost_ = this;
  }
  LayerScope(const LayerScope&) = delete;
  LayerScope& operator=(const LayerScope&) = delete;
  ~LayerScope() { context_.innermost_ = outer_; }

 private:
  friend class Context;
  std::string path() const;

  Context& context_;
  const LayerScope* outer_;
  const char* name_;
  int64_t index_;
};

}  // namespace fovea::nn
