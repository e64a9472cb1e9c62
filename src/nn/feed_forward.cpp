#include "fovea/nn/feed_forward.hpp"

#include "base/check.hpp"
#include "fovea/autograd/functions/activation.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/nn/dropout.hpp"

namespace fovea::nn {

using autograd::Activation;
using autograd::Var;

FeedForward::FeedForward(const FeedForwardOptions& options, Random& random) : options_(options) {
  FeedForwardOptions& o = options_;
  check_argument(o.width >= 1 && o.hidden >= 0, "feed_forward", "expected widths >= 1, got {} and hidden {}", o.width,
                 o.hidden);
  const bool gated = is_gated(o.kind);
  if (o.hidden == 0) o.hidden = gated ? (o.width * 8 / 3 + 31) / 32 * 32 : 4 * o.width;
  up = Linear(o.width, gated ? 2 * o.hidden : o.hidden, random, {.bias = o.bias, .initialization = o.initialization});
  down = Linear(o.hidden, o.width, random,
                {.bias = o.bias, .initialization = o.initialization, .gain = o.output_gain});
}

void FeedForward::visit(ModuleVisitor& visitor) {
  visitor.child("up", up);
  visitor.child("down", down);
}

Var FeedForward::forward(Context& context, const Var& x) const {
  Var hidden;
  switch (options_.kind) {
    case FeedForwardKind::kRelu:
      hidden = autograd::linear_activation(x, up.weight, up.bias, Activation::kRelu);
      break;
    case FeedForwardKind::kGelu:
      hidden = autograd::linear_activation(x, up.weight, up.bias, Activation::kGelu);
      break;
    case FeedForwardKind::kGeluTanh:
      hidden = autograd::linear_activation(x, up.weight, up.bias, Activation::kGeluTanh);
      break;
    case FeedForwardKind::kSwiGlu: hidden = autograd::glu(up.forward(x), Activation::kSilu); break;
    case FeedForwardKind::kGeGlu: hidden = autograd::glu(up.forward(x), Activation::kGelu); break;
  }
  return down.forward(dropout(context, std::move(hidden), options_.dropout));
}

}  // namespace fovea::nn
