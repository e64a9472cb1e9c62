// The units of scores inside the attention kernels: log2, so that a weight is one 2^x.
#pragma once

#include <algorithm>

namespace fovea::kernels {

inline constexpr float kLog2E = 1.44269504088896341f;
inline constexpr float kLn2 = 0.693147180559945309f;

// A float32 term of a score beyond ±2.36e38 would leave the range in units of log2. From ±1e38 on the excess
// counts half: order and equality stay, and any two different numbers of that size differ by more than 1e30,
// so that the larger takes all the weight either way.
inline constexpr float kPlainTerm = 1e38f;

// Where a running maximum begins: below every finite score, so that hidden keys (−∞) weigh exactly 0 and
// visible ones count however low they are.
inline constexpr float kLeastMaximum = -3.3e38f;

inline float within_range(float term) {
  const float plain = std::clamp(term, -kPlainTerm, kPlainTerm);
  return term == plain ? term : plain + 0.5f * (term - plain);
}

// A term of a score (a sink, a bias) in units of log2, finite where it is.
inline float in_log2_units(float term) {
  return within_range(term) * kLog2E;
}

}  // namespace fovea::kernels
