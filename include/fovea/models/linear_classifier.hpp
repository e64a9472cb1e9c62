// Multinomial logistic regression over sparse rows: logits = x W + b, the honest baseline of text
// classification.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/models/ngrams.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::models {

// Immutable use from many threads.
struct LinearClassifier {
  Tensor weight;                                    // [F, C]
  Tensor bias;                                      // [C]
  int64_t classes() const { return bias.numel(); }  // C
  // logits[C] = x[row] W + b, summed in the order of the columns.
  void logits(const SparseRows& rows, int64_t row, std::span<float> out) const;
};

// How it is trained.
struct LinearTrainOptions {
  double learning_rate = 0.1;  // AdaGrad's; tf-idf rows have length one, so it needs no tuning by data set
  double l2 = 1e-4;  // a row's share of the penalty l2/2 |W|^2, applied to the columns that the row touches
  double label_smoothing = 0;  // s: the target is 1 − s + s/C for the label, s/C for the others
  uint64_t seed = 1;           // order of the rows
};

// AdaGrad (Duchi et al., 2011), one row at a time: the rows are so sparse that a dense mini-batch step would
// cost more than a whole pass, and its per-weight rate lets rare features learn fast. One thread, hence the
// same bits always. The state is the weights, their squared-gradient sums and the epoch.
class LinearTrainer {
 public:
  // rows and labels (in [0, classes)) are borrowed. ArgumentError on lengths that differ or a label out of
  // range.
  LinearTrainer(const SparseRows& rows, std::span<const int32_t> labels, int64_t features, int64_t classes,
                std::span<const float> class_weights, const LinearTrainOptions& options);

  // One pass in the order drawn from (seed, epoch); returns the mean loss seen on the way.
  double run_epoch();

  // How many passes were made, and what has come of them; the model is the trainer's own and changes with the
  // next pass.
  int64_t epoch() const { return epoch_; }
  const LinearClassifier& model() const { return model_; }

 private:
  const SparseRows& rows_;
  std::span<const int32_t> labels_;
  std::vector<float> class_weights_;
  LinearTrainOptions options_;
  LinearClassifier model_;
  Tensor weight_squares_, bias_squares_;  // [F, C], [C]
  int64_t epoch_ = 0;
};

}  // namespace fovea::models
