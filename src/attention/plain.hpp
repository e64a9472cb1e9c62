// The plain definition of attention, row by row in float64 arithmetic: what the fused kernels must equal.
// Serves exact rows on demand.
#pragma once

#include "attention/resolve.hpp"

namespace fovea {

// One row of weights, before dropout. Writes weights[0 … Lk) of query i of sequence n and head h; keys out of
// sight get exactly 0. With a sink they sum to less than 1.
void plain_weights(const AttentionInputs& inputs, const Resolved& r, int64_t n, int64_t h, int64_t i,
                   double* weights);

// dscales[h] += Σ dS·raw of scores that are differences, of which q·dq tells nothing: row by row. dlse [Tq,
// H], or null: the gradient of lse.
void distance_scale_gradient(const AttentionInputs& inputs, const Resolved& r, HeadsView<const float> dout,
                             const float* dlse, float* dscales);

}  // namespace fovea
