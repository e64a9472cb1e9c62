// Calibration: does a confidence of 0.8 mean right four times in five? Pure functions, thread-safe.
// Guo et al., "On calibration of modern neural networks", 2017.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::metrics {

// Examples whose confidence (largest probability) lies in (lower, upper]; the first bin includes its lower
// edge.
struct CalibrationBin {
  double lower = 0;       // in [0, 1), …
  double upper = 0;       // … and 1/bins above it
  int64_t count = 0;      // examples in it
  double confidence = 0;  // mean confidence, 0 in an empty bin
  double accuracy = 0;    // share of right predictions, 0 in an empty bin
};

// How far confidence and accuracy lie apart.
struct Calibration {
  std::vector<CalibrationBin> bins;  // ascending, empty ones too
  double expected_error = 0;         // ECE = Σ_b (count_b / N) |accuracy_b − confidence_b|
  double maximum_error = 0;          // MCE = max_b |accuracy_b − confidence_b| over bins with examples
};

// truth [N], probabilities [N, classes]; the prediction is the largest probability, ties to the lower class.
// `bins` bins of equal width over [0, 1]; 15 is the paper's choice. ArgumentError when N is 0, bins < 1, the
// sizes disagree, a class number is outside [0, classes) or a confidence is outside [0, 1].
Calibration calibration(std::span<const int32_t> truth, std::span<const float> probabilities, int64_t classes,
                        int64_t bins = 15);

}  // namespace fovea::metrics
