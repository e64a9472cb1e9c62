// Elementwise arithmetic and sums, float32. A Var given by value and held by nobody else lends its memory to
// the result: pass temporaries, or std::move what is no longer wanted.
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// y = a + b. b has a's shape, or is one row [C] added to every row of a [T, C].
// da = dy; db = dy, or its column sums.
Var add(Var a, const Var& b);

// y = a − b, same shapes. da = dy, db = −dy.
Var subtract(Var a, const Var& b);

// y = a∘b. b has a's shape, or is one row [C] that scales the columns of a [T, C].
// da = dy∘b, db = dy∘a (summed over rows where b is one row).
Var multiply(const Var& a, const Var& b);

// y = αx, dx = α dy.
Var scale(Var x, float alpha);

// y[t, c] = x[t, c]·w[t]: one factor a row. x [T, C], weights [T].
// dx = dy·w[t], dw[t] = Σ_c x[t, c]·dy[t, c].
Var scale_rows(const Var& x, const Var& weights);

// Σ x and Σ x / n as a Var of shape [1]; the mean of nothing is 0. dx = dy, dy / n.
Var sum(const Var& x);
Var mean(const Var& x);

}  // namespace fovea::autograd
