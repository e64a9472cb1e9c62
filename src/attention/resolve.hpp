// A checked call: every default filled in, every option as a number that kernels can use.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "fovea/attention/attention.hpp"
#include "fovea/base/memory.hpp"

namespace fovea {

// Wider than any sequence, and far from overflow when added to an index.
inline constexpr int64_t kUnbounded = int64_t{1} << 60;

struct Resolved {
  int64_t heads = 0, kv_heads = 0, group = 0, d = 0, dv = 0, sequences = 0;
  float scale = 1.0f;
  int64_t left = kUnbounded, right = kUnbounded;  // causal is right = 0
  float softcap = 0.0f;
  uint32_t drop_below = 0;  // a weight is dropped when its 16 random bits are below this; 0: no dropout
  float keep_scale = 1.0f;
  RandomKey dropout_key{};
  // Bias by distance e = i' − j, per head: distance[h·distance_span + distance_zero + e]. Null: none.
  // Readable for e from 63 before the smallest to 63 after the largest distance, so that vectors may
  // overhang.
  Buffer<float> distance;
  int64_t distance_span = 0, distance_zero = 0;
  bool has_distance() const { return distance_span > 0; }

  // The keys [lo, hi) that query i of a sequence sees.
  int64_t first_key(int64_t i, int64_t lq, int64_t lk) const {
    return std::clamp<int64_t>(i + lk - lq - left, 0, lk);
  }
  int64_t end_key(int64_t i, int64_t lq, int64_t lk) const {
    return std::clamp<int64_t>(i + lk - lq + right + 1, 0, lk);
  }
};

Resolved resolve(std::string_view call, const AttentionInputs& inputs, const AttentionSpec& spec);

// dtable and dslopes from ddistance, laid out as Resolved::distance.
void distance_gradient(const AttentionInputs& inputs, const Resolved& r, const float* ddistance,
                       float* dtable, float* dslopes);

}  // namespace fovea
