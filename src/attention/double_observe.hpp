// What the observers of a float64 call ask for.
#pragma once

#include "attention/double_call.hpp"

namespace fovea {

// Makes the tensors of `seen`, zero, indices −1.
void prepare_double_insight(const DoubleCall& call, const Observers& observers, Insight& seen);

// Query i of sequence n and head h, t its packed token.
struct DoubleRow {
  int64_t n, h, i, t;
};

// Writes the statistics of one row of weights e^{logit − lse}.
void look_at(const DoubleCall& call, const DoubleRow& row, DoubleCall::Range keys, const double* logit,
             const DoubleCall::Softmax& softmax, const Observers& observers, Insight& seen);

// Sums over the queries, key_mass and block_mass, by a second pass: rows are added in order.
void add_masses(const DoubleCall& call, const double* lse, const Observers& observers, Insight& seen);

}  // namespace fovea
