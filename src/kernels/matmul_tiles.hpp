// Float32 products in register tiles. Our own, and not oneDNN's: those of version 2.6 (Debian's) keep data
// below the stack pointer and go wrong under a signal's handler, its portable ones (aarch64) allocate and
// round by how many rows come along.
#pragma once

#include "kernels/matmul_blocks.hpp"

namespace fovea::kernels {

// C[m, n] = op(A)·op(B), added to C if `add`: a block of the product `s`, A, B and C moved to its first
// element; bias and s.accumulate are the caller's. Each element is one chain of multiply-adds in the order of
// k, so its bits depend on its own row and column alone. One thread; its workspace,
// less than half a MiB, is the pool's.
void tile_product(const MatmulLayout& s, int64_t m, int64_t n, const float* a, const float* b, bool add,
                  float* c);

}  // namespace fovea::kernels
