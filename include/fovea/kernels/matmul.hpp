// Matrix products, row-major. Each element of a float32 product is one chain of multiply-adds in the order of
// k, so that its bits depend on its own row of A and column of B alone: neither on the number of threads nor
// on which rows come along. Products of bf16 are oneDNN's where the processor has them, cut into blocks by
// the shape alone. Thread-safe; a signal may be handled at any time.
#pragma once

#include <cstdint>

#include "fovea/tensor/dtype.hpp"

namespace fovea::kernels {

// What product: C[m, n] = op(A)[m, k] · op(B)[k, n] (+ bias) (+ C).
struct Matmul {
  // Rows of C, columns of C, and what is summed over; 0 is fine.
  int64_t m = 0;
  int64_t n = 0;
  int64_t k = 0;

  bool transpose_a = false;  // A is stored as [k, m]
  bool transpose_b = false;  // B is stored as [n, k]

  // Row strides of the stored matrices, in elements; 0 means dense.
  int64_t lda = 0;
  int64_t ldb = 0;
  int64_t ldc = 0;

  const float* bias = nullptr;  // [n], added to every row
  bool accumulate = false;      // adds to what C holds instead of replacing it
};

// k = 0 gives bias (or zero) plus what C held if accumulate. C must not overlap A or B.
void matmul(const Matmul& spec, const float* a, const float* b, float* c);

// The same product of bf16 elements, accumulated and written in f32. Uses the processor's bf16 products where
// it has them (`matmul_bf16_is_native`), else converts to f32 first: right everywhere, fast where native.
void matmul_bf16(const Matmul& spec, const BFloat16* a, const BFloat16* b, float* c);
// Rounded to bf16 once, after the bias: half the memory and traffic of C where only products read it. Nothing
// can be accumulated in it: spec.accumulate must be false.
void matmul_bf16(const Matmul& spec, const BFloat16* a, const BFloat16* b, BFloat16* c);
// Whether matmul_bf16 multiplies bf16 as it is: AVX-512-BF16, unless ONEDNN_MAX_CPU_ISA forbids it.
bool matmul_bf16_is_native();

}  // namespace fovea::kernels
