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

// Each as the header of its name defines it. Intervals are bootstrap intervals over the examples.
struct ClassificationReport {
  int64_t examples = 0;                  // N
  double accuracy = 0;                   // in [0, 1]
  Interval accuracy_interval;            // of the accuracy
  PrecisionRecall micro;                 // equal to the accuracy, all three
  PrecisionRecall macro;                 // the mean over the classes that occur
  Interval macro_f1_interval;            // of macro.f1
  PrecisionRecall weighted;              // the mean by support
  std::vector<PrecisionRecall> classes;  // one entry a class
  ConfusionMatrix confusion;             // rows are true classes
  double log_loss = 0;                   // nats
  Calibration calibration;               // in 15 bins
};

// truth [N], probabilities [N, classes]; the prediction is the largest probability, ties to the lower class.
// ArgumentError as the single metrics.
ClassificationReport classification_report(std::span<const int32_t> truth,
                                           std::span<const float> probabilities, int64_t classes,
                                           const BootstrapOptions& bootstrap = {});

// Class of the largest probability in each row, ties to the lower class: probabilities [N, classes] -> [N].
std::vector<int32_t> predicted_classes(std::span<const float> probabilities, int64_t classes);

}  // namespace fovea::metrics
