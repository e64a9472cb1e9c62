// The feed-forward layer of a transformer as one operation. float32.
#pragma once

#include "fovea/autograd/var.hpp"
#include "fovea/base/random.hpp"
#include "fovea/kernels/activation.hpp"

namespace fovea::autograd {

using kernels::Activation;

// With h = x·upᵀ + up_bias, what goes through `down`.
enum class FeedForwardForm {
  kPlain,  // act(h); up [F, C]
  kGated,  // act(gate)∘up with h = gate | up (SwiGLU, GEGLU); up [2·F, C]
};

// The block's kind. ArgumentError from feed_forward for a dropout outside [0, 1).
struct FeedForwardOptions {
  Activation activation = Activation::kGelu;       // of h, or of its gate
  FeedForwardForm form = FeedForwardForm::kPlain;  // decides the shape of `up`
  float dropout = 0.0f;                            // of what goes through `down`; 0: none
  RandomKey dropout_key{};                         // unread without dropout
};

// y = act(x·upᵀ + up_bias)·downᵀ + down_bias.  x [T, C], up [F, C] (or [2·F, C]), down [C', F], biases [F]
// (or [2·F]) and [C'] or undefined -> y [T, C']. Equal, to the bit, to linear_activation (or linear and glu),
// dropout and linear in turn, but keeps only h, not the activations: [T, F] less, which is a quarter of what
// a plain block keeps. The backward pass makes them again together with their derivative, which costs no
// extra pass.
Var feed_forward(const Var& x, const Var& up, const Var& up_bias, const Var& down, const Var& down_bias,
                 const FeedForwardOptions& options = {});

}  // namespace fovea::autograd
