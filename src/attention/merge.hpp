// The one way in which attention over two disjoint sets of keys becomes attention over both.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace fovea {

// x, lse := the result over the keys of both; out normalised within its part, lse natural, −inf without keys.
inline void merge_row(float* x, float& lse, const float* part, float part_lse, int64_t width) {
  if (part_lse == -std::numeric_limits<float>::infinity()) return;
  const float high = std::max(lse, part_lse);
  const float wa = std::exp(lse - high), wb = std::exp(part_lse - high);
  for (int64_t c = 0; c < width; ++c) x[c] = (wa * x[c] + wb * part[c]) / (wa + wb);
  lse = high + std::log(wa + wb);
}

}  // namespace fovea
