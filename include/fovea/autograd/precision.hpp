// Precision of the matrix products of the layers and of attention, chosen for a stretch of code. Weights,
// parameters' gradients, norms, residual sums and losses stay float32; with bf16, the operands of linear,
// linear_activation, linear_add, feed_forward and attention — and of their backward products — are rounded to
// bf16 (8 bits of mantissa, float32's range: no loss scaling), sums are taken in float32, and what is kept
// for backward takes half the memory. Values that only such products read may be bf16 between them
// (product_dtype()); the gradient of one may be bf16 then. Micikevicius et al., "Mixed precision training",
// 2018; Kalamkar et al., "A study of bfloat16 for training", 2019.
#pragma once

#include <cstdint>

#include "fovea/tensor/dtype.hpp"

namespace fovea::autograd {

// What the operands of matrix products are rounded to; everything else is float32 under both.
enum class Precision : uint8_t {
  kFloat32,   // the default
  kBFloat16,  // fast where kernels::matmul_bf16_is_native(); right, but slower than float32, elsewhere
};

// Sets the precision of the operations this thread computes, until the scope ends. Backward follows what
// forward did.
class PrecisionScope {
 public:
  // Of this thread; the precision before resumes when the scope ends.
  explicit PrecisionScope(Precision precision);
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;
  ~PrecisionScope();

 private:
  Precision before_;
};

// Of this thread: that of the innermost PrecisionScope, or kFloat32.
Precision current_precision();

// What products round their operands to at present: the type to ask of a function whose result only products
// read (linear's `result`, AttentionOptions::result).
inline DType product_dtype() {
  return current_precision() == Precision::kBFloat16 ? DType::kBF16 : DType::kF32;
}

}  // namespace fovea::autograd
