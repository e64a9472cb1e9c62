// What to see of an attention call while it runs. Observers never change a bit of the output.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea {

// A set of wishes; combine with |. The fields say what is computed while the weights pass by; Insight says
// what each of them gives, docs/attention.md what it costs. By default nothing is seen.
struct Observers {
  // Of the weights, the sink as one outcome, in nats.
  bool entropy = false;
  // The strongest key and its weight.
  bool max = false;
  bool key_mass = false;  // costs a second pass over the scores, about half of a forward
  // So many of the strongest keys and their weights; 0: not wanted.
  int64_t top_k = 0;
  // (Σp)² / Σp²: among how many keys a query shares its attention.
  bool effective_keys = false;
  // Σ p·|i' − j|, in tokens.
  bool distance = false;
  bool first_key = false;   // mass on the sequence's first key, where causal models park attention
  bool block_mass = false;  // a coarse attention map
  // Mass on the keys from i' − left to i' + right (spec.hpp); −1: not wanted.
  int64_t near_left = -1, near_right = -1;
  // Mass on named sets of keys: the set of each key of the packed batch, in [0, key_set_count), or −1.
  std::span<const int32_t> key_sets{};
  // How many sets there are; 0: not wanted.
  int64_t key_set_count = 0;

  // Whether a window is wanted: both its sides are given.
  constexpr bool near() const { return near_left >= 0 && near_right >= 0; }
  // What is summed from the weights themselves.
  constexpr bool weights() const {
    return effective_keys || distance || first_key || block_mass || near() || key_set_count > 0;
  }
  // Whether anything is wanted, so that a call needs an Insight to fill.
  constexpr bool any() const { return entropy || max || key_mass || top_k > 0 || weights(); }
  // Of two windows or families of sets, the second stands.
  friend constexpr Observers operator|(const Observers& a, const Observers& b) {
    Observers o = a;
    o.entropy |= b.entropy;
    o.max |= b.max;
    o.key_mass |= b.key_mass;
    o.top_k = std::max(a.top_k, b.top_k);
    o.effective_keys |= b.effective_keys;
    o.distance |= b.distance;
    o.first_key |= b.first_key;
    o.block_mass |= b.block_mass;
    if (b.near()) {
      o.near_left = b.near_left;
      o.near_right = b.near_right;
    }
    if (b.key_set_count > 0) {
      o.key_sets = b.key_sets;
      o.key_set_count = b.key_set_count;
    }
    return o;
  }
};

namespace observe {
// The wishes by name, for `entropy | top_k(8)`: each sets the field of Observers that bears its name.
inline constexpr Observers none{};
inline constexpr Observers entropy{.entropy = true};
inline constexpr Observers max{.max = true};
inline constexpr Observers key_mass{.key_mass = true};

// The k strongest keys of each query, k >= 1; of a query that sees fewer, all.
constexpr Observers top_k(int64_t k) {
  return {.top_k = k};
}
// Sums of the weights, likewise by the names of the fields.
inline constexpr Observers effective_keys{.effective_keys = true};
inline constexpr Observers distance{.distance = true};
inline constexpr Observers first_key{.first_key = true};
inline constexpr Observers block_mass{.block_mass = true};

// Mass on the keys i' − left … i' + right of query i, both >= 0.
constexpr Observers near(int64_t left, int64_t right) {
  return {.near_left = left, .near_right = right};
}
// Mass on named sets of keys, 1 <= count <= 64; sets [Tk] must outlive the call.
constexpr Observers key_sets(std::span<const int32_t> sets, int64_t count) {
  return {.key_sets = sets, .key_set_count = count};
}
}  // namespace observe

// What was seen; weights are those before dropout. Only what was asked for is defined.
// Key indices count within the query's own sequence of keys. Ties go to the lower index.
struct Insight {
  Tensor lse;  // [T, H] natural log of the sum of exponentials, the sink counted; −inf without keys
  Tensor softmax_rows;    // [T, H, 2] a SoftmaxRow (max, log_sum) each: lse without its rounding, to merge by
  Tensor entropy;         // [T, H] nats, the sink as one outcome; 0 without keys
  Tensor max_weight;      // [T, H] the largest weight of a key; 0 without keys
  Tensor max_key;         // [T, H] int64, its index; −1 without keys
  Tensor top_k_keys;      // [T, H, places (top_k_places.hpp)] int64, strongest first; −1 where fewer
  Tensor top_k_weights;   // [T, H, places]; 0 there
  Tensor key_mass;        // [Tk, H]: Σ over the queries of the weight on this key, per query head
  Tensor effective_keys;  // [T, H] (Σp)² / Σp² over the keys: 1 where one key has all, n where n share; 0
                          // without
  Tensor expected_distance;  // [T, H] Σ p·|i' − j|, tokens
  Tensor first_key_mass;     // [T, H] the weight on the sequence's first key
  Tensor near_mass;          // [T, H] Σ of the weights on the keys from i' − left to i' + right
  Tensor set_mass;           // [T, H, sets] Σ of the weights on the keys of each set
  // Σ over 64 queries (rows) of the weights on 64 keys (columns): element (row·⌈Lk / 64⌉ + column, h) of
  // sequence n from block_offsets.begin(n) on.
  Tensor block_mass;  // [Σ ⌈Lq / 64⌉·⌈Lk / 64⌉, H]
  // Of the N sequences, in rows of block_mass.
  Offsets block_offsets;
};

}  // namespace fovea
