// Keys and values of tokens already seen, so that generating a token costs one token's work. Owned by the
// caller, one a generation; the layers that share one must be called in order. Not thread-safe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fovea/autograd/var.hpp"
#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea::nn {

// One layer's keys and values for N sequences, each growing on its own. Capacity doubles, so appending costs
// O(1) copies a token.
class KeyValueCache {
 public:
  // Of so many sequences, all empty.
  explicit KeyValueCache(int64_t sequences = 1) : sequences_(static_cast<size_t>(sequences)) {}

  // N, and the tokens held of sequence n, which is not checked.
  int64_t sequences() const { return static_cast<int64_t>(sequences_.size()); }
  int64_t length(int64_t n) const { return sequences_[static_cast<size_t>(n)].length; }

  // Memory held, room for tokens to come included.
  int64_t nbytes() const;

  // Appends k [L, Hkv, D] and v [L, Hkv, Dv] to sequence n. ArgumentError if the heads differ from those
  // before.
  void append(int64_t n, const HeadsView<const float>& k, const HeadsView<const float>& v);

  // What was appended to sequence n, [length, Hkv, D] and [length, Hkv, Dv]; without data before the first
  // append, valid until the cache changes.
  HeadsView<const float> keys(int64_t n) const;
  HeadsView<const float> values(int64_t n) const;

  // Forgets all but the first `length` tokens of sequence n (to try another continuation).
  // ArgumentError unless 0 <= length <= length(n).
  void truncate(int64_t n, int64_t length);
  // Makes the sequences those of `from`, which may repeat or drop some: beam search. Copies.
  // ArgumentError for a sequence outside [0, N).
  void reorder(std::span<const int64_t> from);

 private:
  struct Sequence {
    Tensor k, v;  // [capacity, Hkv, D or Dv]
    int64_t length = 0;
  };
  std::vector<Sequence> sequences_;
};

// A stack's caches, one a layer, and what cross-attention computed once from the memory.
struct TransformerCache {
  // Empty, for so many sequences; the stack that fills it makes the layers.
  explicit TransformerCache(int64_t sequences_ = 1) : sequences(sequences_) {}

  int64_t sequences;                       // N, what every call with this cache brings tokens for
  std::vector<KeyValueCache> layers;       // made by the first forward pass
  std::vector<autograd::Var> memory_keys;  // [Tk, 2·Hkv·D] a layer

  // Tokens seen of each sequence: the positions at which the next ones stand.
  std::vector<int64_t> lengths() const;
};

}  // namespace fovea::nn
