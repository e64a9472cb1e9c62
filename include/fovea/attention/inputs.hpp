// The arrays of an attention call: borrowed, packed [T, heads, width] with any strides, the innermost 1.
#pragma once

#include <cstdint>
#include <span>

#include "fovea/attention/block_mask.hpp"
#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

// Which row of a relative bias's table a distance reads.
enum class RelativeKind : uint8_t {
  // T5 (Raffel et al., 2020, section 2.1): a row is a bucket of distances, exact when near, logarithmic up to
  // max_distance.
  kBuckets,
  // One row a distance, those beyond max_distance sharing the last one (Shaw et al., 2018, section 3.2, as a
  // bias): rows max_distance + clamp(j − i', −max_distance, max_distance); one-sided clamp(i' − j, 0, …).
  kDistances,
};

// A bias by the distance j − i' of a key from its query: table[row of the distance, h] is added to the scaled
// score. Trainable.
struct RelativeBias {
  const float* table = nullptr;  // [buckets, H]; null: none
  int64_t buckets = 32;          // rows of the table; kDistances: 2·max_distance + 1, or max_distance + 1
  // Distances from here on share the last row; 128 and 32 buckets are T5's. kBuckets wants max_distance >
  // buckets, and at least 4 buckets, or 2 for one side.
  int64_t max_distance = 128;
  bool bidirectional = true;                   // false (decoders): all keys after the query share row 0
  RelativeKind kind = RelativeKind::kBuckets;  // how a distance becomes a row
};

// The bucket of distance = j − i' (key minus query position) as T5 counts them.
int64_t relative_bucket(int64_t distance, int64_t buckets, int64_t max_distance, bool bidirectional);
// The row of `bias` for a distance, of either kind.
int64_t relative_row(const RelativeBias& bias, int64_t distance);

// What to put in place of a head's own attention, for explanation and sanity checks (Jain & Wallace, 2019;
// Michel et al., 2019). Masks and dropout hold as ever. Backward gives the gradients of q, k and v through
// what was put in place (all of v's; none of q and k but for kNone), and none of biases, sinks and scales.
enum class HeadOverride : uint8_t {
  kNone,
  kUniform,   // equal weights on all keys that a query sees; no bias, no sink
  kPermuted,  // key j is scored as if it were another key of the sequence; no gradient, backward refuses
  kFrozen,    // weights from outside: softmax of log_weights over the keys that a query sees; no sink
  kOff,       // knocked out: out 0, lse −∞, no gradient
};

// Which heads are overridden, and with what.
struct AttentionOverride {
  std::span<const HeadOverride> heads{};  // [H], or empty: no override
  // kPermuted: key j of a sequence stands for key permutation[k_offsets.begin(n) + j], counted within the
  // sequence. [Tk].
  std::span<const int64_t> permutation{};
  ScoresView<const float> log_weights{};  // kFrozen: [N, H, Lq, Lk] as a bias, natural logarithms; −∞ is 0
};

// One call's arrays. Nothing is owned: they must outlive the call. 0 sequences, heads, queries or keys are
// fine.
struct AttentionInputs {
  HeadsView<const float> q{};  // [Tq, H, D]
  HeadsView<const float> k{};  // [Tk, Hkv, D], Hkv divides H: query head h reads key head h / (H / Hkv)
  HeadsView<const float> v{};  // [Tk, Hkv, Dv]
  Offsets q_offsets{};         // N sequences of queries …
  Offsets k_offsets{};         // … and the N of keys that they read
  std::span<const float> alibi_slopes{};  // [H] or empty: adds −slope·|i' − j|
  RelativeBias relative{};                // a trainable table by distance, shared by all sequences
  std::span<const float> scales{};        // [H] or empty: a scale a head, in place of AttentionSpec::scale
  // Added to the score after softcap, trainable; −∞ hides a key. dims [N, H, Lq, Lk], any strides, 0
  // broadcasts; element (n, h, i, j) is of query i and key j of sequence n. Where sequences differ in length,
  // Lq and Lk are at least the longest.
  ScoresView<const float> bias{};
  ScoresView<const uint8_t> mask{};  // likewise; 0 hides the key, anything else lets it be seen
  // Block-sparse patterns, together with all other masks: one for all, one a sequence, or one for each
  // sequence and head ([N·H], heads innermost), as long as their sequences. The masks must outlive the call.
  std::span<const BlockMask> blocks{};
  std::span<const float> sinks{};  // [H] or empty: one more logit in each row's denominator, with no value
  AttentionOverride override_heads{};  // through the same kernels, forward and backward
};

}  // namespace fovea
