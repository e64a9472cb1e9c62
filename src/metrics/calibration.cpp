#include "fovea/metrics/calibration.hpp"

#include <algorithm>
#include <cmath>

#include "metrics/check_examples.hpp"

namespace fovea::metrics {

Calibration calibration(std::span<const int32_t> truth, std::span<const float> probabilities, int64_t classes,
                        int64_t bins) {
  check_argument(bins >= 1, "calibration", "expected at least one bin, got {}", bins);
  check_probabilities("calibration", truth, probabilities, classes);

  Calibration result;
  result.bins.resize(static_cast<size_t>(bins));
  for (int64_t b = 0; b < bins; ++b) {
    result.bins[static_cast<size_t>(b)].lower = static_cast<double>(b) / static_cast<double>(bins);
    result.bins[static_cast<size_t>(b)].upper = static_cast<double>(b + 1) / static_cast<double>(bins);
  }
  for (size_t i = 0; i < truth.size(); ++i) {
    const auto row = probabilities.subspan(i * static_cast<size_t>(classes), static_cast<size_t>(classes));
    const auto best = std::max_element(row.begin(), row.end());
    const double confidence = *best;
    check_argument(confidence >= 0.0 && confidence <= 1.0 + 1e-5, "calibration",
                   "expected probabilities in [0, 1], got {} at example {}", confidence, i);
    const double position = std::ceil(confidence * static_cast<double>(bins)) - 1.0;
    CalibrationBin& bin =
        result.bins[static_cast<size_t>(std::clamp(position, 0.0, static_cast<double>(bins - 1)))];
    ++bin.count;
    bin.confidence += confidence;
    bin.accuracy += best - row.begin() == truth[i] ? 1.0 : 0.0;
  }
  for (CalibrationBin& bin : result.bins) {
    if (bin.count == 0) continue;
    const auto count = static_cast<double>(bin.count);
    bin.confidence /= count;
    bin.accuracy /= count;
    const double gap = std::abs(bin.accuracy - bin.confidence);
    result.expected_error += gap * count / static_cast<double>(truth.size());
    result.maximum_error = std::max(result.maximum_error, gap);
  }
  return result;
}

}  // namespace fovea::metrics
