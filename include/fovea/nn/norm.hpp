// Normalisation over the width of each token: LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich
// 2019). Parameters "weight" [C] (begins at 1) and, for LayerNorm, "bias" [C] (begins at 0); neither decays.
#pragma once

#include "fovea/autograd/functions/norm.hpp"
#include "fovea/nn/module.hpp"

namespace fovea::nn {

// LayerNorm takes the mean away and divides by the deviation; RMSNorm divides by the root of the mean square.
enum class NormKind { kLayer, kRms };

// Of one norm; PyTorch's LayerNorm by default.
struct NormOptions {
  NormKind kind = NormKind::kLayer;  // decides what the parameters are
  float epsilon = 1e-5F;             // PyTorch's; BERT trained with 1e-12, Llama with 1e-6
  bool bias = true;                  // LayerNorm only
};

// Each token by itself, over its C columns. Formulas in autograd/functions/norm.hpp.
class Norm final : public Module {
 public:
  Norm() = default;
  // ArgumentError unless width >= 1 and epsilon > 0.
  explicit Norm(int64_t width, const NormOptions& options = {});
  void visit(ModuleVisitor& visitor) override;

  // [T, C] -> [T, C].
  autograd::Var forward(const autograd::Var& x) const;
  // x + residual and its normalisation, in one pass over memory.
  autograd::SumAndNorm forward(autograd::Var x, autograd::Var residual) const;

  autograd::Var weight;  // the gain
  autograd::Var bias;    // undefined without

 private:
  NormOptions options_;
};

// A LayerNorm with bias, with PyTorch's epsilon.
inline Norm layer_norm(int64_t width, float epsilon = 1e-5F) {
  return Norm(width, {.epsilon = epsilon});
}
// An RMSNorm, with Llama's epsilon.
inline Norm rms_norm(int64_t width, float epsilon = 1e-6F) {
  return Norm(width, {.kind = NormKind::kRms, .epsilon = epsilon});
}

}  // namespace fovea::nn
