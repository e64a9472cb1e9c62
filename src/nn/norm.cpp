#include "fovea/nn/norm.hpp"

#include "base/check.hpp"

namespace fovea::nn {

using autograd::Var;

Norm::Norm(int64_t width, const NormOptions& options) : options_(options) {
  check_argument(width >= 1, "norm", "expected a width >= 1, got {}", width);
  check_argument(options.epsilon > 0, "norm", "expected epsilon > 0, got {}", options.epsilon);
  weight = Var::parameter(Tensor::full({width}, 1));
  if (options.kind == NormKind::kLayer && options.bias) bias = Var::parameter(Tensor::zeros({width}));
}

void Norm::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", weight, Decay::kNo);
  visitor.parameter("bias", bias, Decay::kNo);
}

Var Norm::forward(const Var& x) const {
  if (options_.kind == NormKind::kRms) return autograd::rms_norm(x, weight, options_.epsilon);
  return autograd::layer_norm(x, weight, bias, options_.epsilon);
}

autograd::SumAndNorm Norm::forward(Var x, Var residual) const {
  if (options_.kind == NormKind::kRms) {
    return autograd::add_rms_norm(std::move(x), std::move(residual), weight, options_.epsilon);
  }
  return autograd::add_layer_norm(std::move(x), std::move(residual), weight, bias, options_.epsilon);
}

}  // namespace fovea::nn
