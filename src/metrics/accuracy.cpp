#include "fovea/metrics/accuracy.hpp"

#include "metrics/check_examples.hpp"

namespace fovea::metrics {

double accuracy(std::span<const int32_t> truth, std::span<const int32_t> predicted) {
  check_examples("accuracy", truth.size(), predicted.size());
  int64_t correct = 0;
  for (size_t i = 0; i < truth.size(); ++i) correct += truth[i] == predicted[i] ? 1 : 0;
  return static_cast<double>(correct) / static_cast<double>(truth.size());
}

}  // namespace fovea::metrics
