// Dropout (Srivastava et al. 2014). The mask is a function of the key and is made again in the backward pass:
// nothing is stored. p in [0, 1); p = 0 returns x itself, so a layer need not ask whether it trains.
#pragma once

#include "fovea/autograd/var.hpp"
#include "fovea/base/random.hpp"

namespace fovea::autograd {

// y[i] = x[i]/(1 − p) where word i of the key's stream is >= p·2^32, else 0. dx is the same map of dy.
Var dropout(Var x, float p, RandomKey key);

// y = residual + dropout(x), in one pass. Same shapes.
Var dropout_add(const Var& x, Var residual, float p, RandomKey key);

// Drops whole rows of x [T, C] (token dropout): word t decides row t.
Var dropout_rows(Var x, float p, RandomKey key);

}  // namespace fovea::autograd
