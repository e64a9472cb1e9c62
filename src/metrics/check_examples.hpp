// The argument checks that the metrics share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/check.hpp"

namespace fovea::metrics {

inline void check_examples(std::string_view call, size_t truth, size_t predicted) {
  check_argument(truth == predicted, call, "expected as many predictions as true values, got {} and {}",
                 predicted, truth);
  check_argument(truth > 0, call, "expected at least one example, got none");
}

inline void check_classes(std::string_view call, std::span<const int32_t> ids, int64_t classes) {
  for (size_t i = 0; i < ids.size(); ++i) {
    check_argument(ids[i] >= 0 && ids[i] < classes, call,
                   "expected class numbers in [0, {}), got {} at example {}", classes, ids[i], i);
  }
}

// truth [N], probabilities [N, classes].
inline void check_probabilities(std::string_view call, std::span<const int32_t> truth,
                                std::span<const float> probabilities, int64_t classes) {
  check_argument(classes > 0, call, "expected at least one class, got {}", classes);
  check_argument(!truth.empty(), call, "expected at least one example, got none");
  check_argument(probabilities.size() == truth.size() * static_cast<size_t>(classes), call,
                 "expected probabilities [{}, {}], got {} values", truth.size(), classes,
                 probabilities.size());
  check_classes(call, truth, classes);
}

}  // namespace fovea::metrics
