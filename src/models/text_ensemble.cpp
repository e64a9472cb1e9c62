#include "fovea/models/text_ensemble.hpp"

#include "base/check.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/rows.hpp"
#include "fovea/autograd/functions/softmax.hpp"

namespace fovea::models {
namespace {

using autograd::Var;

// Far from every stream that a run draws from its own seed.
constexpr uint64_t kMemberStride = uint64_t{1} << 48;

Var mean_log_probability(const std::vector<Var>& logits) {
  if (logits.size() == 1) return logits[0];
  Var sum = autograd::log_softmax(logits[0]);
  for (size_t m = 1; m < logits.size(); ++m)
    sum = autograd::add(std::move(sum), autograd::log_softmax(logits[m]));
  return autograd::scale(std::move(sum), 1.0F / static_cast<float>(logits.size()));
}

}  // namespace

TextEnsemble::TextEnsemble(const TextClassifierConfig& config, uint64_t seed) {
  check_argument(config.members >= 1, "text_ensemble", "expected at least one member, got {}",
                 config.members);
  for (int64_t m = 0; m < config.members; ++m) {
    members_.emplace_back(config, seed + static_cast<uint64_t>(m) * kMemberStride);
  }
}

void TextEnsemble::visit(nn::ModuleVisitor& visitor) {
  if (members_.size() == 1) {
    members_[0].visit(visitor);
    return;
  }
  for (size_t m = 0; m < members_.size(); ++m) visitor.child("members", m, members_[m]);
}

Var TextEnsemble::logits(const TextBatch& batch, nn::Context& context) const {
  std::vector<Var> parts;
  parts.reserve(members_.size());
  for (const auto& member : members_) parts.push_back(member.logits(batch, context));
  return mean_log_probability(parts);
}

Var TextEnsemble::embed(const TextBatch& batch, nn::Context& context) const {
  if (members_.size() == 1) return members_[0].embed(batch, context);
  std::vector<Var> parts;
  parts.reserve(members_.size());
  for (const auto& member : members_) parts.push_back(member.embed(batch, context));
  return autograd::concat_columns(parts);
}

Var TextEnsemble::classify(const Var& x, const Offsets& offsets, nn::Context& context) const {
  if (members_.size() == 1) return members_[0].classify(x, offsets, context);
  const int64_t width = config().width;
  check_argument(x.value().rank() == 2 && x.dim(1) == members() * width, "text_ensemble",
                 "expected embeddings [T, {}], got {}", members() * width, to_string(x.value().shape()));
  std::vector<Var> parts;
  parts.reserve(members_.size());
  for (int64_t m = 0; m < members(); ++m) {
    parts.push_back(members_[static_cast<size_t>(m)].classify(
        autograd::slice_columns(x, m * width, (m + 1) * width), offsets, context));
  }
  return mean_log_probability(parts);
}

Var TextEnsemble::loss(const TextBatch& batch, const Tensor& labels,
                       const autograd::CrossEntropyOptions& options, nn::Context& context) const {
  Var sum;
  for (const auto& member : members_) {
    Var one = autograd::cross_entropy(member.logits(batch, context), labels, options);
    sum = sum.defined() ? autograd::add(std::move(sum), one) : std::move(one);
  }
  return members_.size() == 1 ? sum
                              : autograd::scale(std::move(sum), 1.0F / static_cast<float>(members_.size()));
}

}  // namespace fovea::models
