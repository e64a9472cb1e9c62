// Rows of a trainable table by token id.
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// y[t] = table[ids[t]]; table [V, C], ids [T] int32 or int64 -> [T, C]. An id of −1 gives zeros (a dropped
// token). d table[v] = Σ of dy[t] with ids[t] = v, added in the order of t. ArgumentError for an id outside
// [−1, V).
Var embedding(const Var& table, const Tensor& ids);

// y = x + table[ids]: positions or segments on top of tokens. x [T, C]. dx = dy.
Var add_embedding(const Var& x, const Var& table, const Tensor& ids);

}  // namespace fovea::autograd
