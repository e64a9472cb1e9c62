// Products in register tiles of our own, for processors for which oneDNN brings no machine code (its portable
// product allocates, and what it rounds depends on how many rows come along).
#pragma once

#include "kernels/matmul_blocks.hpp"

namespace fovea::kernels {

// C[m, n] = op(A)·op(B), added to C if `add`: a block of the product `s`, A, B and C moved to its first
// element; bias and s.accumulate are the caller's. Each element is one chain of multiply-adds in the order of
// k, so its bits depend on its own row and column alone. One thread; no allocation.
void tile_product(const MatmulLayout& s, int64_t m, int64_t n, const float* a, const float* b, bool add,
                  float* c);

}  // namespace fovea::kernels
