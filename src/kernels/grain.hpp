// The least work that is worth waking a thread for.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fovea::kernels {

// Elements of one pass over memory: 16k floats take about 2-5 us from cache, 10 from memory.
inline constexpr int64_t kGrain = 16384;
// The same where each element costs an exponential or so.
inline constexpr int64_t kCostlyGrain = 4096;

// Rows of `cols` elements that make up `elements`.
inline int64_t row_grain(int64_t cols, int64_t elements = kGrain) {
  return std::max<int64_t>(1, elements / std::max<int64_t>(1, cols));
}

}  // namespace fovea::kernels
