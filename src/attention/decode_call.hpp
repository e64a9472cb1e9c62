// What the tasks of a decoding call share: parts of caches are worked on one by one, then merged in order.
#pragma once

#include <cstddef>
#include <vector>

#include "attention/fused.hpp"
#include "attention/schedule.hpp"
#include "attention/score.hpp"
#include "fovea/attention/decode.hpp"
#include "fovea/base/memory.hpp"
#include "kernels/attention_units.hpp"

namespace fovea {

using kernels::kLog2E;

// Keys of one task: at most 32 parts of a cache, none shorter than 512.
inline int64_t decode_part_length(int64_t keys) {
  constexpr int64_t kLeastKeys = 512, kMostParts = 32;
  const int64_t least = (keys + kMostParts - 1) / kMostParts;
  return std::max(kLeastKeys, (least + 63) / 64 * 64);
}
inline int64_t decode_parts(int64_t keys) {
  const int64_t length = decode_part_length(keys);
  return (keys + length - 1) / length;
}

// Where the keys of a sequence lie: in a cache, or at strides of bytes.
struct DecodeKeys {
  CacheType type = CacheType::kF32;
  const KvCache* cache = nullptr;
  const std::byte* k = nullptr;  // of token 0 and key head 0
  const std::byte* v = nullptr;
  int64_t k_stride = 0, v_stride = 0, k_head_stride = 0, v_head_stride = 0;
  bool given() const { return cache != nullptr || k != nullptr; }
};

struct DecodeCall {
  const AttentionInputs& shapes;
  const Resolved& r;
  const AttentionSpec& spec;
  DType dtype;                                                // of the queries as they were given
  HeadsView<const float> q{};                                 // the rows that the score makes of the queries
  int64_t d = 0;                                              // of a key
  int64_t width = 0, value_width = 0;                         // padded
  std::vector<DecodeKeys, PoolAllocator<DecodeKeys>> keys{};  // of each sequence; one without is left alone
  Buffer<float> partial{};          // of each part: [rows] maxima, [rows] sums, [rows][value_width] outputs
  Buffer<int64_t> partial_begin{};  // of a sequence's first part
  Buffer<float> scores{};           // [H][Lq][Lk] of each sequence, when somebody looks
  Buffer<int64_t> scores_begin{};

  int64_t queries(int64_t n) const {
    return keys[static_cast<size_t>(n)].given() ? shapes.q_offsets.length(n) : 0;
  }
  int64_t key_count(int64_t n) const { return shapes.k_offsets.length(n); }
  int64_t rows(int64_t n) const { return queries(n) * r.group; }
  int64_t part_floats(int64_t n) const { return (rows(n) * (value_width + 2) + 15) / 16 * 16; }
  float* part(int64_t n, int64_t kv_head, int64_t index) {
    return partial.data() + partial_begin[static_cast<size_t>(n)] +
           (kv_head * decode_parts(key_count(n)) + index) * part_floats(n);
  }
  float* scores_of(int64_t n, int64_t head) {
    if (scores.size() == 0) return nullptr;
    return scores.data() + scores_begin[static_cast<size_t>(n)] + head * queries(n) * key_count(n);
  }
};

// The call, whose queries and keys are placed: out and what the softmax leaves, of the sequences with keys.
void run_decode(DecodeCall& call, HeadsView<float> out, const SoftmaxOutput& softmax,
                const Observers& observers, Insight* seen);

// Attention of the item's rows on its keys [begin, end), into their part.
void run_decode_part(DecodeCall& call, const Item& item);

// Fills what observers want of a head from its kept scores; `rows` is what the softmax has left of the
// sequence's queries.
void observe_decoded(DecodeCall& call, int64_t n, int64_t head, const SoftmaxRow* rows,
                     const Observers& wanted, Insight& seen);

}  // namespace fovea
