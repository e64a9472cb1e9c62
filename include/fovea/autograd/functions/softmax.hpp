// Softmax over the last dimension of x [T, C], or over the tokens of each sequence. Natural logarithm,
// float32. A row that is all −inf gives zeros (log-softmax: −inf).
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// y = exp(x − log Σ exp x);  dx = y∘(dy − Σ_c y∘dy).
Var softmax(const Var& x);

// y = x − log Σ exp x;  dx = dy − exp(y)·Σ_c dy.
Var log_softmax(const Var& x);

// Softmax of x [T] over the tokens of each sequence.
Var segment_softmax(const Var& x, const Offsets& offsets);

}  // namespace fovea::autograd
