// Layer and root-mean-square normalisation over the last dimension of x [T, C], float32.
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// y = (x − mean)/√(variance + eps)·gamma + beta, variance divided by C (Ba et al. 2016).
// gamma and beta [C], either may be undefined (1, 0). eps as in PyTorch.
Var layer_norm(const Var& x, const Var& gamma, const Var& beta, float eps = 1e-5f);

// y = x/√(mean(x²) + eps)·gamma (Zhang and Sennrich 2019). gamma [C] or undefined. eps as in Llama.
Var rms_norm(const Var& x, const Var& gamma, float eps = 1e-6f);

// A residual sum and its normalisation, made in one pass over memory.
struct SumAndNorm {
  Var sum;   // x + residual [T, C]: the residual stream
  Var norm;  // its normalisation [T, C]
};

// sum = x + residual, norm = layer_norm(sum). Either output may be used, or both; d sum collects both
// gradients and goes to x and residual unchanged. The sum takes x's or residual's memory where nobody else
// holds it.
SumAndNorm add_layer_norm(Var x, Var residual, const Var& gamma, const Var& beta, float eps = 1e-5f);
SumAndNorm add_rms_norm(Var x, Var residual, const Var& gamma, float eps = 1e-6f);

}  // namespace fovea::autograd
