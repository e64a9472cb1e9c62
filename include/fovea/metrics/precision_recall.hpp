// Precision, recall and F1, per class and averaged. Pure functions, thread-safe.
// A ratio whose denominator is 0 (a class never predicted, or never true) counts as 0, as in scikit-learn.
#pragma once

#include <cstdint>
#include <vector>

#include "fovea/metrics/confusion_matrix.hpp"

namespace fovea::metrics {

// With tp, fp and fn the true positives, false positives and false negatives of a class.
struct PrecisionRecall {
  double precision = 0;  // tp / (tp + fp)
  double recall = 0;     // tp / (tp + fn)
  double f1 = 0;         // 2 tp / (2 tp + fp + fn)
  int64_t support = 0;   // tp + fn; for an average, all examples
};

// How the scores of classes become one.
enum class Average {
  kMicro,     // from the summed counts; for one label an example, all three equal accuracy
  kMacro,     // mean over the classes that occur, as truth or as prediction
  kWeighted,  // mean over the classes, weighted by support
};

// One entry a class.
std::vector<PrecisionRecall> per_class(const ConfusionMatrix& matrix);
// ArgumentError when the matrix counts no example.
PrecisionRecall averaged(const ConfusionMatrix& matrix, Average average);

}  // namespace fovea::metrics
