// Ragged batches: packed tokens [T, …] plus offsets. There is no padding, and no padded path, anywhere in
// Fovea.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "fovea/tensor/tensor.hpp"

namespace fovea {

// Where each sequence of a packed batch begins: N + 1 ascending numbers, the first 0, the last T. Immutable
// and shared: copying a handle costs a reference count. Sequence n holds tokens [begin(n), end(n)); it may be
// empty.
class Offsets {
 public:
  Offsets();  // no sequence, no token
  // ArgumentError unless the numbers begin with 0 and never descend.
  explicit Offsets(std::vector<int64_t> offsets);
  // {3, 5} gives 0, 3, 8. ArgumentError for a negative length.
  static Offsets from_lengths(std::span<const int64_t> lengths);
  static Offsets single(int64_t length);                  // one sequence
  static Offsets uniform(int64_t count, int64_t length);  // count sequences of one length

  int64_t count() const { return static_cast<int64_t>(values_->size()) - 1; }  // N
  int64_t total() const { return values_->back(); }                            // T

  // Sequence n of [0, N), not checked: its first token, the one behind its last, and how many there are.
  int64_t begin(int64_t n) const { return (*values_)[static_cast<size_t>(n)]; }
  int64_t end(int64_t n) const { return (*values_)[static_cast<size_t>(n) + 1]; }
  int64_t length(int64_t n) const { return end(n) - begin(n); }

  // Of the longest sequence, 0 where there is none; counted anew at each call.
  int64_t max_length() const;
  // The N + 1 numbers.
  std::span<const int64_t> values() const { return *values_; }

  friend bool operator==(const Offsets& a, const Offsets& b) {
    return a.values_ == b.values_ || *a.values_ == *b.values_;
  }

 private:
  std::shared_ptr<const std::vector<int64_t>> values_;
};

// Anything with one row a token, and where its sequences begin. T is Tensor here, Var in autograd.
template <class T>
struct BasicRagged {
  T tokens;         // [T, …]
  Offsets offsets;  // N + 1
};
// Packed rows, such as attention_rows gives.
using Ragged = BasicRagged<Tensor>;

}  // namespace fovea
