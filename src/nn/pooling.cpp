#include "fovea/nn/pooling.hpp"

#include <array>

#include "base/check.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/functions/pooling.hpp"
#include "fovea/autograd/functions/rows.hpp"

namespace fovea::nn {

using autograd::Var;

namespace {
constexpr std::array<const char*, 5> kNames{"first", "last", "mean", "max", "attention"};
}

const char* to_string(PoolingKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

PoolingKind pooling_kind(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i]) return static_cast<PoolingKind>(i);
  }
  throw_argument("pooling_kind", "expected first, last, mean, max or attention, got \"{}\"", name);
}

Pooling::Pooling(PoolingKind kind, int64_t width, Random& random) : kind_(kind) {
  if (kind != PoolingKind::kAttention) return;
  hidden_ = Linear(width, width, random);
  query_ = Linear(width, 1, random, {.bias = false});
}

void Pooling::visit(ModuleVisitor& visitor) {
  if (kind_ != PoolingKind::kAttention) return;
  visitor.child("hidden", hidden_);
  visitor.child("query", query_);
}

Var Pooling::forward(Context& context, const Var& x, const Offsets& offsets) const {
  switch (kind_) {
    case PoolingKind::kFirst:
      return autograd::first_token(x, offsets);
    case PoolingKind::kLast:
      return autograd::last_token(x, offsets);
    case PoolingKind::kMean:
      return autograd::mean_pool(x, offsets);
    case PoolingKind::kMax:
      return autograd::max_pool(x, offsets);
    case PoolingKind::kAttention:
      break;
  }
  const Var hidden =
      autograd::linear_activation(x, hidden_.weight, hidden_.bias, autograd::Activation::kTanh);
  const Var scores = autograd::reshape(query_.forward(hidden), {x.dim(0)});
  if (context.sink() == nullptr) return autograd::attention_pool(x, scores, offsets);
  Tensor weights;
  Var pooled = autograd::attention_pool(x, scores, offsets, &weights);
  context.sink()->pooling({context.path(), weights, offsets});
  return pooled;
}

}  // namespace fovea::nn
