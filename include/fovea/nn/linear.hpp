// Linear: y = x·Wᵀ + b, x [T, in] -> [T, out]. Parameters "weight" [out, in] and "bias" [out].
#pragma once

#include "fovea/base/random.hpp"
#include "fovea/nn/initialization.hpp"
#include "fovea/nn/module.hpp"

namespace fovea::nn {

// How a linear layer begins.
struct LinearOptions {
  bool bias = true;                                                // begins at 0
  Initialization initialization = Initialization::kXavierUniform;  // of the weight
  double gain = 1.0;  // times the initial weight: 1/√(2·layers) on what ends on a residual stream (GPT-2)
};

// One matrix and its bias. Default-made it has neither, and lists no parameter.
class Linear final : public Module {
 public:
  Linear() = default;
  // ArgumentError unless in and out >= 1.
  Linear(int64_t in, int64_t out, Random& random, const LinearOptions& options = {});
  void visit(ModuleVisitor& visitor) override;

  // `result`: the type of y, as autograd::linear takes it.
  autograd::Var forward(const autograd::Var& x, DType result = DType::kF32) const;

  // Columns taken and given; of a layer that has a weight.
  int64_t in() const { return weight.dim(1); }
  int64_t out() const { return weight.dim(0); }

  autograd::Var weight;  // assign another layer's to tie the two
  autograd::Var bias;    // undefined without
};

}  // namespace fovea::nn
