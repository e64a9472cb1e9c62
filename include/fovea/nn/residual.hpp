// The residual stream of a Transformer: a value and the branch that is still to be added to it. The addition
// waits for the next normalisation, which makes both in one pass over memory.
#pragma once

#include "fovea/autograd/var.hpp"
#include "fovea/nn/context.hpp"
#include "fovea/nn/norm.hpp"
#include "fovea/tensor/ragged.hpp"

namespace fovea::nn {

// What a branch loses while training, before it is added.
struct ResidualOptions {
  float dropout = 0.0F;           // of a branch's elements
  float stochastic_depth = 0.0F;  // of a branch as a whole, for some sequences
};

// Of one forward pass.
class ResidualStream {
 public:
  // Begins with the tokens [T, C], and nothing to add.
  explicit ResidualStream(autograd::Var value) : value_(std::move(value)) {}

  // value + branch, brought about.
  const autograd::Var& value();
  // norm(value + branch); the stream stays unnormalised (pre-norm).
  autograd::Var normalised(const Norm& norm);
  // The stream becomes norm(value + branch) (post-norm).
  void normalise(const Norm& norm) { value_ = normalised(norm); }
  // The branch to add next, after its dropout.
  void add(Context& context, autograd::Var branch, const Offsets& offsets, const ResidualOptions& options);

 private:
  autograd::Var value_;
  autograd::Var branch_;  // undefined: nothing waits
};

}  // namespace fovea::nn
