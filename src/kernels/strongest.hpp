// Keys by strength as whole numbers: the higher score first, of equal ones the lower key. NaN has no place in
// it.
#pragma once

#include <cstdint>
#include <cstring>

namespace fovea::kernels {

// Ascending numbers are descending strengths, and no two keys are equal: whoever sorts or cuts a list of them
// makes the same choice.
inline uint64_t strength_of(float score, int32_t key) {
  score += 0.0f;  // −0 and 0 are equal
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  const uint32_t ascending = bits ^ ((bits >> 31) != 0 ? 0xFFFFFFFFu : 0x80000000u);
  return uint64_t{~ascending} << 32 | static_cast<uint32_t>(key);
}

inline float strength_score(uint64_t strength) {
  const uint32_t ascending = ~static_cast<uint32_t>(strength >> 32);
  const uint32_t bits = ascending ^ ((ascending >> 31) != 0 ? 0x80000000u : 0xFFFFFFFFu);
  float score;
  std::memcpy(&score, &bits, sizeof score);
  return score;
}

inline int32_t strength_key(uint64_t strength) {
  return static_cast<int32_t>(static_cast<uint32_t>(strength));
}

}  // namespace fovea::kernels
