// The position-wise feed-forward layer of a Transformer: W₂·act(W₁·x), or gated, W₂·(act(G·x)∘(U·x)) (Shazeer
// 2020). Parameters "up.weight" [hidden, width] (gated: [2·hidden, width], rows gate | up) and "down.weight"
// [width, hidden].
#pragma once

#include "fovea/nn/context.hpp"
#include "fovea/nn/linear.hpp"

namespace fovea::nn {

// The activation, and whether a gate multiplies.
enum class FeedForwardKind {
  kRelu,
  kGelu,      // exact (BERT)
  kGeluTanh,  // GPT-2's approximation
  kSwiGlu,    // gated by SiLU (Llama)
  kGeGlu,     // gated by GELU (T5 1.1)
};
// Whether `up` holds a gate too, and so has twice as many rows.
constexpr bool is_gated(FeedForwardKind kind) {
  return kind == FeedForwardKind::kSwiGlu || kind == FeedForwardKind::kGeGlu;
}

// Of one layer.
struct FeedForwardOptions {
  int64_t width = 0;  // of the tokens, before and after
  // 0: 4·width (Vaswani et al.), or, gated, 8/3·width rounded up to a multiple of 32: the same number of
  // weights.
  int64_t hidden = 0;
  FeedForwardKind kind = FeedForwardKind::kGelu;                   // BERT's
  bool bias = true;                                                // of both projections; begins at 0
  float dropout = 0.0F;                                            // of the hidden values, while training
  Initialization initialization = Initialization::kXavierUniform;  // of both projections
  double output_gain = 1.0;                                        // see LinearOptions
};

// Each token by itself. For backward it keeps its input and what stands before the activation
// (autograd::feed_forward).
class FeedForward final : public Module {
 public:
  FeedForward() = default;
  // ArgumentError unless width >= 1 and hidden >= 0.
  FeedForward(const FeedForwardOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  autograd::Var forward(Context& context, const autograd::Var& x) const;  // [T, width] -> [T, width]

  // The two projections; shapes as above.
  Linear up, down;

 private:
  FeedForwardOptions options_;
};

}  // namespace fovea::nn
