// Every classification metric at once, with intervals: what `fovea evaluate` prints and metrics.json holds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/metrics/bootstrap.hpp"
#include "fovea/metrics/calibration.hpp"
#include "fovea/metrics/confusion_matrix.hpp"
#include "fovea/metrics/precision_recall.hpp"

namespace fovea::metrics {

struct ClassificationReport {
  int64_t examples = 0;
  double accuracy = 0;
  Interval accuracy_interval;
  PrecisionRecall micro;
  PrecisionRecall macro;
  Interval macro_f1_interval;
  PrecisionRecall weighted;
  std::vector<PrecisionRecall> classes;
  ConfusionMatrix confusion;
  double log_loss = 0;
  Calibration calibration;
};

// truth [N], probabilities [N, classes]; the prediction is the largest probability, ties to the lower class.
// ArgumentError as the single metrics.
ClassificationReport classification_report(std::span<const int32_t> truth,
                                           std::span<const float> probabilities, int64_t classes,
                                           const BootstrapOptions& bootstrap = {});

// Class of the largest probability in each row, ties to the lower class: probabilities [N, classes] -> [N].
std::vector<int32_t> predicted_classes(std::span<const float> probabilities, int64_t classes);

}  // namespace fovea::metrics
