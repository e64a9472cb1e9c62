// Ways of dropping while training. Each takes a fresh key of the context, and does nothing (and takes none)
// at inference or for p = 0.
#pragma once

#include "fovea/autograd/var.hpp"
#include "fovea/nn/context.hpp"
#include "fovea/tensor/ragged.hpp"

namespace fovea::nn {

// Elements (Srivastava et al. 2014).
autograd::Var dropout(Context& context, autograd::Var x, float p);

// Whole tokens of x [T, C]: a word that is not there teaches the others (Iyyer et al. 2015, word dropout).
autograd::Var token_dropout(Context& context, autograd::Var x, float p);

// A whole branch of a residual layer, for some of the sequences of a batch, x [T, C]; kept ones are scaled by
// 1/(1 − p) (Huang et al. 2016, "Deep networks with stochastic depth").
autograd::Var stochastic_depth(Context& context, const autograd::Var& x, const Offsets& offsets, float p);

}  // namespace fovea::nn
