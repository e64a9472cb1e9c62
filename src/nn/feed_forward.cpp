#include "fovea/nn/feed_forward.hpp"

#include "base/check.hpp"
#include "fovea/autograd/functions/feed_forward.hpp"

namespace fovea::nn {

using autograd::Activation;
using autograd::Var;

FeedForward::FeedForward(const FeedForwardOptions& options, Random& random) : options_(options) {
  FeedForwardOptions& o = options_;
  check_argument(o.width >= 1 && o.hidden >= 0, "feed_forward", "expected widths >= 1, got {} and hidden {}",
                 o.width, o.hidden);
  const bool gated = is_gated(o.kind);
  if (o.hidden == 0) o.hidden = gated ? (o.width * 8 / 3 + 31) / 32 * 32 : 4 * o.width;
  up = Linear(o.width, gated ? 2 * o.hidden : o.hidden, random,
              {.bias = o.bias, .initialization = o.initialization});
  down = Linear(o.hidden, o.width, random,
                {.bias = o.bias, .initialization = o.initialization, .gain = o.output_gain});
}

void FeedForward::visit(ModuleVisitor& visitor) {
  visitor.child("up", up);
  visitor.child("down", down);
}

Var FeedForward::forward(Context& context, const Var& x) const {
  const auto activation = [&] {
    switch (options_.kind) {
      case FeedForwardKind::kRelu:
        return Activation::kRelu;
      case FeedForwardKind::kGelu:
      case FeedForwardKind::kGeGlu:
        return Activation::kGelu;
      case FeedForwardKind::kGeluTanh:
        return Activation::kGeluTanh;
      case FeedForwardKind::kSwiGlu:
        return Activation::kSilu;
    }
    return Activation::kGelu;
  };
  const float dropout = context.rate(options_.dropout);
  return autograd::feed_forward(x, up.weight, up.bias, down.weight, down.bias,
                                {.activation = activation(),
                                 .form = is_gated(options_.kind) ? autograd::FeedForwardForm::kGated
                                                                 : autograd::FeedForwardForm::kPlain,
                                 .dropout = dropout,
                                 .dropout_key = dropout == 0.0F ? RandomKey{} : context.next_key()});
}

}  // namespace fovea::nn
