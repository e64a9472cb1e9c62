#include "fovea/metrics/classification_report.hpp"

#include <algorithm>

#include "fovea/metrics/accuracy.hpp"
#include "fovea/metrics/log_loss.hpp"
#include "metrics/check_examples.hpp"

namespace fovea::metrics {

std::vector<int32_t> predicted_classes(std::span<const float> probabilities, int64_t classes) {
  check_argument(classes > 0 && probabilities.size() % static_cast<size_t>(classes) == 0, "predicted_classes",
                 "expected probabilities [N, {}], got {} values", classes, probabilities.size());
  std::vector<int32_t> predicted;
  for (auto row = probabilities.begin(); row != probabilities.end(); row += classes) {
    predicted.push_back(static_cast<int32_t>(std::max_element(row, row + classes) - row));
  }
  return predicted;
}

ClassificationReport classification_report(std::span<const int32_t> truth,
                                           std::span<const float> probabilities, int64_t classes,
                                           const BootstrapOptions& bootstrap) {
  check_probabilities("classification_report", truth, probabilities, classes);
  const std::vector<int32_t> predicted = predicted_classes(probabilities, classes);
  ConfusionMatrix confusion(truth, predicted, classes);

  // One pair of buffers for all resamples: drawing 1,000 × N rows is the whole cost.
  std::vector<int32_t> drawn_truth(truth.size());
  std::vector<int32_t> drawn_predicted(truth.size());
  const auto draw = [&](std::span<const int64_t> rows) {
    for (size_t i = 0; i < rows.size(); ++i) {
      drawn_truth[i] = truth[static_cast<size_t>(rows[i])];
      drawn_predicted[i] = predicted[static_cast<size_t>(rows[i])];
    }
  };
  const auto n = static_cast<int64_t>(truth.size());
  const Interval accuracy_interval = bootstrap_interval(
      n,
      [&](std::span<const int64_t> rows) {
        draw(rows);
        return accuracy(drawn_truth, drawn_predicted);
      },
      bootstrap);
  const Interval macro_f1_interval = bootstrap_interval(
      n,
      [&](std::span<const int64_t> rows) {
        draw(rows);
        return averaged(ConfusionMatrix(drawn_truth, drawn_predicted, classes), Average::kMacro).f1;
      },
      bootstrap);

  return {.examples = n,
          .accuracy = accuracy(truth, predicted),
          .accuracy_interval = accuracy_interval,
          .micro = averaged(confusion, Average::kMicro),
          .macro = averaged(confusion, Average::kMacro),
          .macro_f1_interval = macro_f1_interval,
          .weighted = averaged(confusion, Average::kWeighted),
          .classes = per_class(confusion),
          .confusion = confusion,
          .log_loss = log_loss(truth, probabilities, classes),
          .calibration = calibration(truth, probabilities, classes)};
}

}  // namespace fovea::metrics
