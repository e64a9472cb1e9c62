#include "fovea/nn/dropout.hpp"

#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/dropout.hpp"

namespace fovea::nn {

using autograd::Var;

Var dropout(Context& context, Var x, float p) {
  if (context.rate(p) == 0.0F) return x;
  return autograd::dropout(std::move(x), p, context.next_key());
}

Var token_dropout(Context& context, Var x, float p) {
  if (context.rate(p) == 0.0F) return x;
  return autograd::dropout_rows(std::move(x), p, context.next_key());
}

Var stochastic_depth(Context& context, const Var& x, const Offsets& offsets, float p) {
  if (context.rate(p) == 0.0F) return x;
  check_argument(p > 0.0F && p < 1.0F, "stochastic_depth", "expected a probability in [0, 1), got {}", p);
  check_argument(offsets.total() == x.dim(0), "stochastic_depth",
                 "expected offsets that end at the {} tokens of x, got {}", x.dim(0), offsets.total());
  const RandomKey key = context.next_key();
  const double limit = std::ldexp(static_cast<double>(p), 32);
  const float kept = 1.0F / (1.0F - p);
  Tensor weights = Tensor::empty({offsets.total()});
  for (int64_t n = 0; n < offsets.count(); ++n) {
    const uint32_t word = key.block(static_cast<uint64_t>(n) / 4)[static_cast<size_t>(n % 4)];
    std::fill(weights.data() + offsets.begin(n), weights.data() + offsets.end(n),
              static_cast<double>(word) >= limit ? kept : 0.0F);
  }
  return autograd::scale_rows(x, Var(std::move(weights)));
}

}  // namespace fovea::nn
