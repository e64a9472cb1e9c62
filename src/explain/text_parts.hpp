// Pieces that explaining a classifier and a language model share. Internal.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "explain/recorder.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/explain/explain_text.hpp"
#include "fovea/explain/relevance.hpp"
#include "fovea/nn/module.hpp"
#include "tasks/finite.hpp"

namespace fovea::explain {

// DataError that names `folder` when a logit is not finite.
inline std::vector<double> softmax_of(std::span<const float> logits, const std::filesystem::path& folder) {
  tasks::check_finite_scores(logits, folder);
  std::vector<double> p(logits.begin(), logits.end());
  const double largest = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - largest);
  for (double& x : p) x /= sum;
  return p;
}

// The `count` most probable, strongest first, ties to the lower index.
inline std::vector<size_t> strongest(std::span<const double> p, int64_t count) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t kept = std::min(p.size(), static_cast<size_t>(std::max<int64_t>(count, 1)));
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(kept), order.end(),
                    [&](size_t a, size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  order.resize(kept);
  return order;
}

// A batch of what is left of a text: the kept tokens of each variant, one after the other.
struct Variants {
  std::vector<int32_t> ids;
  std::vector<int64_t> lengths;
};
inline Variants variants_of(std::span<const int32_t> ids, std::span<const std::vector<int64_t>> kept) {
  Variants variants;
  for (const std::vector<int64_t>& tokens : kept) {
    variants.lengths.push_back(static_cast<int64_t>(tokens.size()));
    for (const int64_t t : tokens) variants.ids.push_back(ids[static_cast<size_t>(t)]);
  }
  return variants;
}

// The tokens of a text as the model reads them.
struct Start {
  formats::Encoding encoding;  // the first `longest`
  bool cut = false;            // the text has more
};
Start encode_start(const formats::Tokenizer& tokenizer, std::string_view text, int64_t longest);

// The example of a text before anything is computed.
PageExample example_of(std::string_view text, const Start& start, const ExplainOptions& options);

// A recorded reading of one text.
struct Reading {
  AttentionRecorder recorder;
  autograd::Tape tape;
  autograd::Var x;       // the embeddings [T, C], a leaf of the tape
  autograd::Var logits;  // [1, outputs]
};

// The output that is explained.
struct Explained {
  size_t index;      // which logit
  std::string name;  // what stands for it
  std::string role;  // said behind the name in sentences; empty, or beginning with a blank
};

// Adds to the example what every model has: its attention with rollout from the weights `starts` [T] at the
// top of each member (only where it attends), gradient × input, and, where asked for, occlusion by whole
// words, for which `scores` gives the output's probability. The model is left without gradients for a
// training step to find.
void add_relevance(nn::Module& model, Reading& reading, const Explained& what,
                   std::span<const std::vector<float>> starts, bool with_occlusion, VariantScores scores,
                   PageExample& example);

}  // namespace fovea::explain
