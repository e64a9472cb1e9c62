#include "fovea/metrics/log_loss.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "metrics/check_examples.hpp"

namespace fovea::metrics {

double log_loss(std::span<const int32_t> truth, std::span<const float> probabilities, int64_t classes) {
  check_probabilities("log_loss", truth, probabilities, classes);
  constexpr float kEpsilon = std::numeric_limits<float>::epsilon();
  double sum = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const float p = probabilities[i * static_cast<size_t>(classes) + static_cast<size_t>(truth[i])];
    sum -= std::log(static_cast<double>(std::clamp(p, kEpsilon, 1.0F - kEpsilon)));
  }
  return sum / static_cast<double>(truth.size());
}

}  // namespace fovea::metrics
