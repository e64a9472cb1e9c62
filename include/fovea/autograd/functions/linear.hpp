// Matrix products: the linear layer, with and without an activation, and the plain product. float32; under
// bf16 precision (precision.hpp) the left operands of the first three may be bf16, and linear's result.
#pragma once

#include "fovea/autograd/var.hpp"
#include "fovea/kernels/activation.hpp"

namespace fovea::autograd {

using kernels::Activation;

// y = x·Wᵀ + b.  x [T, in], weight [out, in], bias [out] or undefined -> y [T, out].
// dx = dy·W,  dW = dyᵀ·x,  db = Σ_t dy.
// `result` is the type of y: bf16, which takes half the memory, only under bf16 precision and only where
// products read it (linear, attention). ArgumentError for other shapes or types.
Var linear(const Var& x, const Var& weight, const Var& bias = {}, DType result = DType::kF32);

// y = act(x·Wᵀ + b), shapes as linear. Keeps the sum before the activation only where the derivative is a
// function of it (GELU, SiLU); for ReLU, sigmoid and tanh the output serves.
Var linear_activation(const Var& x, const Var& weight, const Var& bias, Activation act);

// y = x + h·Wᵀ + b: a projection that ends on the residual stream, without a pass over memory of its own.
// residual [T, out]; its gradient is dy itself.
Var linear_add(const Var& h, const Var& weight, const Var& bias, Var residual);

// C = A·B with a [M, K], b [K, N]; or A·Bᵀ with b [N, K] when transpose_b.
// dA = dC·Bᵀ,  dB = Aᵀ·dC (of the transposed form: dA = dC·B, dB = dCᵀ·A).
Var matmul(const Var& a, const Var& b, bool transpose_b = false);

}  // namespace fovea::autograd
