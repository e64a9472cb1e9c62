#include "fovea/nn/residual.hpp"

#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/nn/dropout.hpp"

namespace fovea::nn {

using autograd::Var;

const Var& ResidualStream::value() {
  if (branch_.defined()) value_ = autograd::add(std::exchange(branch_, Var()), value_);
  return value_;
}

Var ResidualStream::normalised(const Norm& norm) {
  if (!branch_.defined()) return norm.forward(value_);
  autograd::SumAndNorm both = norm.forward(std::exchange(branch_, Var()), std::exchange(value_, Var()));
  value_ = std::move(both.sum);
  return std::move(both.norm);
}

void ResidualStream::add(Context& context, Var branch, const Offsets& offsets,
                         const ResidualOptions& options) {
  (void)value();
  branch = dropout(context, std::move(branch), options.dropout);
  branch_ = stochastic_depth(context, branch, offsets, options.stochastic_depth);
}

}  // namespace fovea::nn
