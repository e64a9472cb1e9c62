// Precision of the matrix products of the layers, chosen for a stretch of code. Weights, gradients,
// activations and everything else stay float32; with bf16, the operands of linear, linear_activation,
// linear_add and feed_forward — and of their backward products — are rounded to bf16 (8 bits of mantissa,
// float32's range: no loss scaling), products are accumulated in float32, and what is kept for backward takes
// half the memory. Micikevicius et al., "Mixed precision training", 2018; Kalamkar et al., "A study of
// bfloat16 for training", 2019.
#pragma once

#include <cstdint>

namespace fovea::autograd {

enum class Precision : uint8_t {
  kFloat32,   // the default
  kBFloat16,  // fast where kernels::matmul_bf16_is_native(); right, but slower than float32, elsewhere
};

// Sets the precision of the operations this thread computes, until the scope ends. Backward follows what
// forward did.
class PrecisionScope {
 public:
  explicit PrecisionScope(Precision precision);
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;
  ~PrecisionScope();

 private:
  Precision before_;
};

Precision current_precision();

}  // namespace fovea::autograd
