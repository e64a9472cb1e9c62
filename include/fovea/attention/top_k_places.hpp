// How long the lists of the strongest keys are (Insight::top_k_keys).
#pragma once

#include <algorithm>
#include <cstdint>

namespace fovea {

// Places of the lists of the k strongest keys where the longest sequence has so many keys: k, but no more
// than kEmptyPlaces that no key can fill, so that a k beyond all lengths takes no memory to speak of.
inline constexpr int64_t kEmptyPlaces = 1024;
constexpr int64_t top_k_places(int64_t k, int64_t keys) {
  return std::min(k, keys + kEmptyPlaces);
}

}  // namespace fovea
