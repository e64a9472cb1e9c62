#include "fovea/nn/linear.hpp"

#include "base/check.hpp"
#include "fovea/autograd/functions/linear.hpp"

namespace fovea::nn {

using autograd::Var;

Linear::Linear(int64_t in, int64_t out, Random& random, const LinearOptions& options) {
  check_argument(in >= 1 && out >= 1, "linear", "expected widths >= 1, got in {} and out {}", in, out);
  Tensor w = initialized({out, in}, options.initialization, random);
  if (options.gain != 1.0) {
    for (float& v : w.span()) v = static_cast<float>(static_cast<double>(v) * options.gain);
  }
  weight = Var::parameter(std::move(w));
  if (options.bias) bias = Var::parameter(Tensor::zeros({out}));
}

void Linear::visit(ModuleVisitor& visitor) {
  visitor.parameter("weight", weight);
  visitor.parameter("bias", bias, Decay::kNo);
}

Var Linear::forward(const Var& x, DType result) const {
  return autograd::linear(x, weight, bias, result);
}

}  // namespace fovea::nn
