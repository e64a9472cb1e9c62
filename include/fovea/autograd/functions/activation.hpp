// Activations and gated linear units (see kernels/activation.hpp for their formulas), float32.
#pragma once

#include "fovea/autograd/var.hpp"
#include "fovea/kernels/activation.hpp"

namespace fovea::autograd {

using kernels::Activation;

// y = act(x), any shape. dx = dy·act'(x); the derivative of ReLU at 0 is 0.
Var activation(Var x, Activation act);

// y = act(gate)∘up with x [T, 2·C] = gate | up -> [T, C]: SwiGLU with kSilu, GEGLU with kGelu (Shazeer 2020).
// d gate = dy∘up∘act'(gate), d up = dy∘act(gate).
Var glu(const Var& x, Activation act);

}  // namespace fovea::autograd
