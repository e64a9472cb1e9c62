// Moving rows and columns of packed tokens [T, C], float32.
#pragma once

#include <span>

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// The same elements under another shape; nothing is copied, forward or backward.
Var reshape(const Var& x, const Shape& shape);

// y[i] = x[ids[i]]; x [T, C], ids [n] int32 or int64 in [−1, T), −1 gives zeros -> [n, C].
// dx[t] = Σ of dy[i] with ids[i] = t, added in the order of i.
Var gather_rows(const Var& x, const Tensor& ids);

// Rows [begin, end) of x [T, C], sharing its memory. dx is dy in those rows, zero elsewhere.
Var slice_rows(const Var& x, int64_t begin, int64_t end);

// Columns [begin, end) of x [T, C] -> [T, end − begin]. dx is dy in those columns, zero elsewhere.
Var slice_columns(const Var& x, int64_t begin, int64_t end);

// The parts under one another, or side by side; all [·, C], or all [T, ·]. At least one part.
// Each part's gradient is its piece of dy.
Var concat_rows(std::span<const Var> parts);
Var concat_columns(std::span<const Var> parts);

// y[t] = x[n] for each token t of sequence n; x [N, C] -> [T, C]. dx[n] = Σ of dy over the tokens of sequence
// n.
Var repeat_rows(const Var& x, const Offsets& offsets);

}  // namespace fovea::autograd
