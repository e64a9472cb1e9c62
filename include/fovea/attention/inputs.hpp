// The arrays of an attention call: borrowed, packed [T, heads, width] with any strides, the innermost 1.
#pragma once

#include <cstdint>
#include <span>

#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

// T5's relative position bias (Raffel et al., 2020, section 2.1): each distance j − i' falls into a bucket,
// exact when near, logarithmic up to max_distance; table[bucket, h] is added to the scaled score. Trainable.
struct RelativeBias {
  const float* table = nullptr;  // [buckets, H]; null: none
  int64_t buckets = 32;
  int64_t max_distance = 128;
  bool bidirectional = true;  // false (decoders): all keys after the query share bucket 0
};

// The bucket of distance = j − i' (key minus query position).
int64_t relative_bucket(int64_t distance, int64_t buckets, int64_t max_distance, bool bidirectional);

struct AttentionInputs {
  HeadsView<const float> q{};  // [Tq, H, D]
  HeadsView<const float> k{};  // [Tk, Hkv, D], Hkv divides H: query head h reads key head h / (H / Hkv)
  HeadsView<const float> v{};  // [Tk, Hkv, Dv]
  Offsets q_offsets{};         // N sequences of queries …
  Offsets k_offsets{};         // … and the N of keys that they read
  std::span<const float> alibi_slopes{};  // [H] or empty: adds −slope·|i' − j|
  RelativeBias relative{};
  std::span<const float> sinks{};  // [H] or empty: one more logit in each row's denominator, with no value
};

}  // namespace fovea
