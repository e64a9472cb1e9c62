// BlockMask: which queries see which keys of one sequence, held as tiles of 64 × 64 that are skipped, full,
// or partial with a bit a pair. Skipped tiles cost the kernels nothing, full ones no mask. Equal partial
// tiles are held once, so that regular patterns of any length are small: about 8 bytes a live tile. Immutable
// and shared: copying a handle costs a reference count. Thread-safe.
//
// Positions count from the sequence's first query and key. Builders with a notion of "before" align the last
// query to the last key, as AttentionSpec does: query i stands at i' = i + Lk − Lq.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "fovea/base/function_ref.hpp"
#include "fovea/base/random.hpp"

namespace fovea {

// A pattern of one sequence's queries and keys. ArgumentError from the builders for a length outside [0,
// 2^31), a block, stride or dilation below 1, a window below −1 or a negative count, and from | and & for
// masks of different lengths.
class BlockMask {
 public:
  BlockMask();  // of no query and no key

  // From a bitmap [rows, columns] of blocks of q_block × k_block pairs, nonzero = attend; the last row and
  // column of blocks may overhang. ArgumentError unless the bitmap has ⌈Lq / q_block⌉·⌈Lk / k_block⌉
  // elements.
  static BlockMask from_bitmap(std::span<const uint8_t> bitmap, int64_t q_block, int64_t k_block, int64_t lq,
                               int64_t lk);
  // From a function of query i and key j, called once for each pair.
  static BlockMask from_function(int64_t lq, int64_t lk, FunctionRef<bool(int64_t i, int64_t j)> sees);

  // Every query sees every key: full tiles only.
  static BlockMask all(int64_t lq, int64_t lk);
  static BlockMask causal(int64_t lq, int64_t lk);  // j <= i'
  // i' − left <= j <= i' + right; −1: unbounded.
  static BlockMask window(int64_t lq, int64_t lk, int64_t left, int64_t right);
  // Keys at distances i' − j, before and after, that are multiples of stride.
  static BlockMask strided(int64_t lq, int64_t lk, int64_t stride);
  // window & strided (Longformer, section 3.1).
  static BlockMask dilated(int64_t lq, int64_t lk, int64_t left, int64_t right, int64_t dilation);
  // The first `count` queries see all keys, and all queries see the first `count` keys.
  static BlockMask global_tokens(int64_t lq, int64_t lk, int64_t count);
  // Each row of block × block blocks sees per_row distinct blocks of keys (all, where there are fewer).
  static BlockMask random(int64_t lq, int64_t lk, int64_t block, int64_t per_row, RandomKey key);
  // Prefix-LM: causal, but all queries see the first `length` keys.
  static BlockMask prefix(int64_t lq, int64_t lk, int64_t length);
  // Documents packed in one row: query i sees key j if their ids are equal.
  static BlockMask documents(std::span<const int64_t> q_ids, std::span<const int64_t> k_ids);

  friend BlockMask operator|(const BlockMask& a, const BlockMask& b);  // seen by either
  friend BlockMask operator&(const BlockMask& a, const BlockMask& b);  // seen by both

  int64_t queries() const;  // Lq
  int64_t keys() const;     // Lk

  // Whether query i may attend to key j. ArgumentError outside [0, Lq) and [0, Lk).
  bool sees(int64_t i, int64_t j) const;

  int64_t pairs() const;          // how many (query, key) pairs see each other
  int64_t live_tiles() const;     // tiles of 64 × 64 that are not skipped …
  int64_t partial_tiles() const;  // … and of them those with bits
  int64_t bytes() const;          // held

  struct Data;
  // The tiles, for the kernels; declared in src/attention/block_mask_data.hpp and not promised.
  const Data& data() const { return *data_; }

 private:
  explicit BlockMask(std::shared_ptr<const Data> data);
  friend BlockMask compile_mask(int64_t lq, int64_t lk, FunctionRef<void(int64_t i, uint64_t* row)> write);

  std::shared_ptr<const Data> data_;
};

// Longformer (Beltagy et al., 2020): a window of `window` keys on each side, and `global` first tokens that
// see and are seen by all.
BlockMask longformer(int64_t length, int64_t window, int64_t global);
// Big Bird (Zaheer et al., 2020), in blocks: `global` first blocks both ways, a band of `window` blocks
// (odd: the own block and window/2 on each side), and `random` more blocks a row.
BlockMask big_bird(int64_t length, int64_t block, int64_t global, int64_t window, int64_t random,
                   RandomKey key);

// How a Sparse Transformer's heads look back; sparse_transformer says what each one sees.
enum class SparsePattern : uint8_t { kStrided, kFixed };
// Sparse Transformer (Child et al., 2019, section 4.3), both factors of a pattern in one head, causal.
// kStrided: the last `stride` keys, and those whose distance is a multiple of stride. kFixed: the keys of the
// query's own block of `stride`, and the last key of every block.
BlockMask sparse_transformer(int64_t length, int64_t stride, SparsePattern pattern = SparsePattern::kStrided);

}  // namespace fovea
