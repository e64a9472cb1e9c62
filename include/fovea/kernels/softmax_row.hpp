// What the softmax of a row of scores leaves behind, from which every weight can be made again.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace fovea {

// In units of log2, as kernels hold scores: with s in these units, a key's weight is
// 2^((s − max) − log_sum), and lse = (max + log_sum)·ln 2. The two are kept apart because their sum, rounded
// to float32, would be wrong by |lse|·6e-8, and every weight made from it by as large a factor: 1e-4 at
// lse 2,000, ten times at 1e9 (an additive mask of −1e9). `max` is a score of the row (or close to one), so
// that s − max is exact for the keys that weigh most.
struct SoftmaxRow {
  float max = -std::numeric_limits<float>::infinity();  // −∞: the row has no key and no sink
  float log_sum = 0.0f;                                 // log2 Σ 2^(s − max), the sink counted

  // Whether nothing was there to weigh: neither a key nor a sink.
  bool empty() const { return max == -std::numeric_limits<float>::infinity(); }
};

// The row of a natural log-sum-exp: as exact as that is. For results that come from elsewhere.
inline SoftmaxRow softmax_row_of(float lse) {
  if (!(std::abs(lse) < std::numeric_limits<float>::infinity())) return {lse, 0.0f};
  const double log2 = static_cast<double>(lse) * 1.4426950408889634;
  const auto max = static_cast<float>(log2);
  return {max, static_cast<float>(log2 - static_cast<double>(max))};
}

// The share of the weights of a whole that falls on a part of its keys: 2^(part − whole).
inline float share_of_whole(const SoftmaxRow& part, const SoftmaxRow& whole) {
  if (part.empty()) return 0.0f;
  return std::exp2((part.max - whole.max) + (part.log_sum - whole.log_sum));
}

// The row's log-sum-exp, natural; −∞ of an empty row. Kernels hold terms beyond ±1e38 at half their excess:
// here it counts whole again, and a finite row stays finite.
inline float lse_of(const SoftmaxRow& row) {
  const double held = (static_cast<double>(row.max) + static_cast<double>(row.log_sum)) * 0.6931471805599453;
  if (!(std::abs(held) > 1e38) || std::isinf(held)) return static_cast<float>(held);
  constexpr double largest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(2 * held - std::copysign(1e38, held), -largest, largest));
}

}  // namespace fovea
