// Accuracy: the share of examples whose predicted class is the true one. Pure function, thread-safe.
#pragma once

#include <cstdint>
#include <span>

namespace fovea::metrics {

// (1/N) Σ [truth_i = predicted_i], truth and predicted [N]. ArgumentError when N is 0 or the lengths differ.
double accuracy(std::span<const int32_t> truth, std::span<const int32_t> predicted);

}  // namespace fovea::metrics
