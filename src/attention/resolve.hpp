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
  int64_t heads = 0, kv_heads = 0, group = 0, sequences = 0;
  int64_t d = 0, dv = 0;                       // widths of the transformed q and k (score.hpp), and of v
  bool differences = false, timelike = false;  // as of kernels::AttentionHead
  float scale = 1.0f;
  std::span<const float> scales;  // [H]; empty: `scale` for all
  float scale_of(int64_t h) const { return scales.empty() ? scale : scales[static_cast<size_t>(h)]; }
  bool unit_gradient_scale = false;  // gradients as if the derivative of the scaled score by q·k were 1
  const float* sinks = nullptr;      // [H]; null: none
  Buffer<float> no_sinks;            // zeros, of softmax-one
  int64_t left = kUnbounded, right = kUnbounded;  // causal is right = 0
  float softcap = 0.0f;
  int64_t top_k = 0;        // no more than the longest sequence's keys, or 1; 0: all keys
  uint32_t drop_below = 0;  // a weight is dropped when its 16 random bits are below this; 0: no dropout
  float keep_scale = 1.0f;
  RandomKey dropout_key{};
  std::span<const HeadOverride> overrides;  // [H] or empty
  HeadOverride override_of(int64_t h) const {
    return overrides.empty() ? HeadOverride::kNone : overrides[static_cast<size_t>(h)];
  }
  bool overrides_with(HeadOverride what) const {
    return std::find(overrides.begin(), overrides.end(), what) != overrides.end();
  }
  Tensor permuted_k;  // [Tk, Hkv, D] transformed, of kPermuted; made by permute_keys
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

// Fills r.permuted_k if an override asks for it; `transformed` as the kernels read them.
void permute_keys(const AttentionInputs& transformed, Resolved& r);

// The block mask of a sequence and head; null: none.
inline const BlockMask* blocks_of(const AttentionInputs& in, int64_t n, int64_t h) {
  const size_t size = in.blocks.size(), heads = static_cast<size_t>(in.q.dim(1));
  if (size == 0) return nullptr;
  if (size == 1) return in.blocks.data();
  const bool one_a_head = size == static_cast<size_t>(in.q_offsets.count()) * heads;
  return &in.blocks[one_a_head ? static_cast<size_t>(n) * heads + static_cast<size_t>(h)
                               : static_cast<size_t>(n)];
}

// The element of a bias or a mask for query 0 and key 0 of a sequence and head; null: none.
template <class T>
T* scores_of(const ScoresView<T>& x, int64_t n, int64_t h) {
  return x.data == nullptr ? nullptr : x.data + n * x.stride(0) + h * x.stride(1);
}

// dtable and dslopes from ddistance, laid out as Resolved::distance.
void distance_gradient(const AttentionInputs& inputs, const Resolved& r, const float* ddistance,
                       float* dtable, float* dslopes);

}  // namespace fovea
