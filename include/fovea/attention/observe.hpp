// What to see of an attention call while it runs. Observers never change a bit of the output.
#pragma once

#include <algorithm>
#include <cstdint>

#include "fovea/tensor/tensor.hpp"

namespace fovea {

// A set of wishes; combine with |.
struct Observers {
  bool entropy = false;
  bool max = false;
  bool key_mass = false;  // costs a second pass over the scores, about half of a forward
  int64_t top_k = 0;

  constexpr bool any() const { return entropy || max || key_mass || top_k > 0; }
  friend constexpr Observers operator|(const Observers& a, const Observers& b) {
    return {a.entropy || b.entropy, a.max || b.max, a.key_mass || b.key_mass, std::max(a.top_k, b.top_k)};
  }
};

namespace observe {
inline constexpr Observers none{};
inline constexpr Observers entropy{.entropy = true};
inline constexpr Observers max{.max = true};
inline constexpr Observers key_mass{.key_mass = true};
// The k strongest keys of each query, 1 <= k <= 64.
constexpr Observers top_k(int64_t k) {
  return {.top_k = k};
}
}  // namespace observe

// What was seen; weights are those before dropout. Only what was asked for is defined.
// Key indices count within the query's own sequence of keys. Ties go to the lower index.
struct Insight {
  Tensor lse;         // [T, H] natural log of the sum of exponentials, the sink counted; −inf without keys
  Tensor entropy;     // [T, H] nats, the sink as one outcome; 0 without keys
  Tensor max_weight;  // [T, H] the largest weight of a key; 0 without keys
  Tensor max_key;     // [T, H] int64, its index; −1 without keys
  Tensor top_k_keys;  // [T, H, k] int64, strongest first; −1 where the row has fewer keys
  Tensor top_k_weights;  // [T, H, k]; 0 there
  Tensor key_mass;       // [Tk, H]: Σ over the queries of the weight on this key, per query head
};

}  // namespace fovea
