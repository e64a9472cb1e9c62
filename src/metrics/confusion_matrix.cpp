#include "fovea/metrics/confusion_matrix.hpp"

#include <numeric>

#include "metrics/check_examples.hpp"

namespace fovea::metrics {

ConfusionMatrix::ConfusionMatrix(std::span<const int32_t> truth, std::span<const int32_t> predicted,
                                 int64_t classes)
    : classes_(classes) {
  check_argument(classes > 0, "ConfusionMatrix", "expected at least one class, got {}", classes);
  check_argument(truth.size() == predicted.size(), "ConfusionMatrix",
                 "expected as many predictions as true values, got {} and {}", predicted.size(),
                 truth.size());
  check_classes("ConfusionMatrix", truth, classes);
  check_classes("ConfusionMatrix", predicted, classes);
  counts_.assign(static_cast<size_t>(classes * classes), 0);
  for (size_t i = 0; i < truth.size(); ++i) ++counts_[static_cast<size_t>(truth[i] * classes + predicted[i])];
}

int64_t ConfusionMatrix::support(int64_t truth) const {
  int64_t sum = 0;
  for (int64_t j = 0; j < classes_; ++j) sum += count(truth, j);
  return sum;
}

int64_t ConfusionMatrix::predicted(int64_t predicted) const {
  int64_t sum = 0;
  for (int64_t i = 0; i < classes_; ++i) sum += count(i, predicted);
  return sum;
}

int64_t ConfusionMatrix::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
}

}  // namespace fovea::metrics
