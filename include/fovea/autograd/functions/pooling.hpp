// From tokens to sequences: packed x [T, C] and offsets of N sequences -> [N, C], float32. An empty sequence
// gives zeros and passes no gradient.
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// y[n] = Σ x[t] over the tokens of sequence n; dx[t] = dy[n].
Var sum_pool(const Var& x, const Offsets& offsets);

// The mean over the tokens; dx[t] = dy[n] / length(n).
Var mean_pool(const Var& x, const Offsets& offsets);

// The maximum of each column over the tokens; dx goes to the first token that reached it.
Var max_pool(const Var& x, const Offsets& offsets);

// The first and the last token of each sequence.
Var first_token(const Var& x, const Offsets& offsets);
Var last_token(const Var& x, const Offsets& offsets);

// y[n] = Σ_t w[t]·x[t]; weights [T]. dx[t] = w[t]·dy[n], dw[t] = x[t]·dy[n].
Var weighted_pool(const Var& x, const Var& weights, const Offsets& offsets);

// weighted_pool with w = the softmax of scores [T] within each sequence: attention pooling by a learned query
// (Yang et al. 2016). The weights are returned in `weights` when it is not null.
Var attention_pool(const Var& x, const Var& scores, const Offsets& offsets, Tensor* weights = nullptr);

}  // namespace fovea::autograd
