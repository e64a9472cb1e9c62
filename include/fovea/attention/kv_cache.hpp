// KvCache: the keys and values of one sequence's past tokens, for attention_decode. Paged: tokens lie in
// blocks, each key head's keys side by side within a block; a block as long as the sequence may grow makes
// the cache contiguous. Copying a cache shares its blocks (a fork, as beam search needs); a shared block is
// copied when it is appended to. The cache owns its blocks together with its copies. One thread changes a
// cache at a time; copies may be changed by different threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fovea/tensor/view.hpp"

namespace fovea {

// The numbers that a cache holds: rounded once, when they are appended.
enum class CacheType : uint8_t {
  kF32,
  kBF16,
  kF16,
  kInt8,  // symmetric, with a scale for each token and head: |error| <= max|x| / 254
};
// "float32", "bfloat16", "float16" or "int8".
const char* to_string(CacheType type);

// What a cache holds; fixed for its life.
struct KvCacheOptions {
  int64_t kv_heads = 1, width = 64, value_width = 64;  // Hkv, D, Dv
  // float32 by default: what was appended comes back to the bit.
  CacheType type = CacheType::kF32;
  int64_t block =
      128;  // tokens of a block; 128 wastes at most 127 tokens and still reads 8 KB or more in a run
  int64_t window = 0;  // keep the last `window` tokens only (whole blocks are freed); 0: all
};

// The past of one sequence. A copy is a fork: cheap, and its own from then on.
class KvCache {
 public:
  // ArgumentError unless heads >= 1, widths in 1…1024, block in 1…2^24 and window >= 0.
  explicit KvCache(const KvCacheOptions& options);

  // Appends tokens: k [n, Hkv, D], v [n, Hkv, Dv], rounded to the cache's type, then drops those beyond the
  // window. ArgumentError for other shapes.
  void append(HeadsView<const float> k, HeadsView<const float> v);
  // Drops the oldest tokens. ArgumentError unless 0 <= tokens <= length().
  void evict(int64_t tokens);
  // A cache of the same tokens; nothing is copied until one of them is appended to.
  KvCache fork() const { return *this; }

  // As it was made.
  const KvCacheOptions& options() const { return options_; }
  int64_t length() const { return length_; }      // tokens kept
  int64_t position() const { return position_; }  // of the first kept token: how many were evicted
  // Blocks that this cache refers to, shared ones too.
  int64_t blocks() const { return static_cast<int64_t>(blocks_.size()); }
  int64_t bytes() const;  // of all blocks that this cache refers to, shared ones too

  // Token i of [0, length()) widened to float32: k [Hkv, D], v [Hkv, Dv].
  void read(int64_t i, float* k, float* v) const;

  // Tokens in one block, for kernels (src/attention/kv_cache_layout.hpp says how they lie there).
  struct Run {
    const std::byte* memory = nullptr;  // of the block
    int64_t token = 0;                  // of the block: the first of the run
    int64_t begin = 0, end = 0;         // the run's tokens in the cache
  };
  // The run that holds token i, up to `limit`.
  Run run_at(int64_t i, int64_t limit) const;
  int64_t padded_width() const { return padded_width_; }              // a multiple of 16, the rest 0
  int64_t padded_value_width() const { return padded_value_width_; }  // so is this

 private:
  struct Block;
  std::byte* writable_slot(int64_t slot);

  KvCacheOptions options_;
  int64_t padded_width_ = 0, padded_value_width_ = 0;
  int64_t length_ = 0, position_ = 0;
  int64_t skipped_ = 0;  // evicted tokens that the first block still holds
  std::vector<std::shared_ptr<Block>> blocks_;
};

}  // namespace fovea
