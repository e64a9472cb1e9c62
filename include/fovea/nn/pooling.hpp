// From the tokens of a sequence to one row: [T, C] -> [N, C].
#pragma once

#include <string_view>

#include "fovea/nn/context.hpp"
#include "fovea/nn/linear.hpp"
#include "fovea/tensor/ragged.hpp"

namespace fovea::nn {

// Which row speaks for a sequence.
enum class PoolingKind {
  kFirst,  // BERT's class token
  kLast,   // a causal stack's summary
  kMean,
  kMax,
  kAttention,  // Σ softmax(uᵀ·tanh(W·x + b))·x, a learned query (Yang et al. 2016); the sink sees the weights
};

// "first", "last", "mean", "max", "attention".
const char* to_string(PoolingKind kind);
// ArgumentError names the five.
PoolingKind pooling_kind(std::string_view name);

// Parameters, kAttention only: "hidden.weight" [C, C], "hidden.bias" [C], "query.weight" [1, C].
class Pooling final : public Module {
 public:
  Pooling() = default;  // mean
  // `width`, C, and the numbers are of use to kAttention only.
  Pooling(PoolingKind kind, int64_t width, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // As it was made.
  PoolingKind kind() const { return kind_; }

  // An empty sequence gives zeros.
  autograd::Var forward(Context& context, const autograd::Var& x, const Offsets& offsets) const;

 private:
  PoolingKind kind_ = PoolingKind::kMean;
  Linear hidden_, query_;
};

}  // namespace fovea::nn
