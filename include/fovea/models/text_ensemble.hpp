// Several text classifiers of one configuration, trained side by side from different seeds, that decide
// together (deep ensembles; Lakshminarayanan et al. 2017):
//   logits = 1/M Σ_m log softmax(logits_m)
// The members' errors differ, so that the mean of their log-probabilities is right more often and better
// calibrated than any one of them.
#pragma once

#include <cstdint>
#include <vector>

#include "fovea/autograd/functions/losses.hpp"
#include "fovea/models/text_classifier.hpp"

namespace fovea::models {

// One classifier or several behind the same calls.
class TextEnsemble : public nn::Module {
 public:
  // config.members classifiers; the first is drawn from `seed`, as a classifier alone would be.
  // ArgumentError for fewer than one, and for what TextClassifier does not take.
  TextEnsemble(const TextClassifierConfig& config, uint64_t seed);

  const TextClassifierConfig& config() const { return members_[0].config(); }  // that all members share
  int64_t members() const { return static_cast<int64_t>(members_.size()); }    // M, at least 1
  // One member: a classifier's own names. More: "members.0.…".
  void visit(nn::ModuleVisitor& visitor) override;

  // [N, classes]; with one member its own logits.
  autograd::Var logits(const TextBatch& batch, nn::Context& context) const;
  // For models without character n-grams: the ids alone. ArgumentError for others.
  autograd::Var logits(const Tensor& ids, const Offsets& offsets, nn::Context& context) const {
    return logits(TextBatch{ids, offsets, {}, {}}, context);
  }

  // The two halves, for looking inside: the members' embeddings side by side [T, members · width], and the
  // rest.
  autograd::Var embed(const TextBatch& batch, nn::Context& context) const;
  autograd::Var classify(const autograd::Var& x, const Offsets& offsets, nn::Context& context) const;

  // The mean of the members' own cross-entropies: each learns as if alone, or they would come to agree.
  autograd::Var loss(const TextBatch& batch, const Tensor& labels,
                     const autograd::CrossEntropyOptions& options, nn::Context& context) const;

 private:
  std::vector<TextClassifier> members_;
};

}  // namespace fovea::models
