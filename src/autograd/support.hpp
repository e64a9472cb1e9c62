// What the operations share: argument checks, memory reuse, index dtypes.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.hpp"
#include "fovea/autograd/tape.hpp"

namespace fovea::autograd {

inline void check_f32(const char* op, const char* what, const Tensor& t) {
  check_argument(t.defined() && t.dtype() == DType::kF32, op, "expected {} of float32, got {}", what,
                 t.defined() ? to_string(t.dtype()) : "an undefined tensor");
}

inline void check_rank(const char* op, const char* what, const Var& v, int rank) {
  check_f32(op, what, v.value());
  check_argument(v.shape().rank() == rank, op, "expected {} of rank {}, got {}", what, rank,
                 to_string(v.shape()));
}

// The left operand of a product: float32, or bf16 from a function that was asked for it.
inline void check_operand(const char* op, const char* what, const Var& v, int rank) {
  if (!v.defined() || v.value().dtype() != DType::kBF16) check_f32(op, what, v.value());
  check_argument(v.shape().rank() == rank, op, "expected {} of rank {}, got {}", what, rank,
                 to_string(v.shape()));
}

// A float32 vector of n elements, or undefined.
inline void check_optional_vector(const char* op, const char* what, const Tensor& t, int64_t n) {
  if (!t.defined()) return;
  check_f32(op, what, t);
  check_argument(t.shape() == Shape{n}, op, "expected {} of shape [{}], got {}", what, n,
                 to_string(t.shape()));
}

inline void check_same_shape(const char* op, const Var& a, const Var& b) {
  check_f32(op, "both inputs", a.value());
  check_f32(op, "both inputs", b.value());
  check_argument(a.shape() == b.shape(), op, "expected inputs of one shape, got {} and {}",
                 to_string(a.shape()), to_string(b.shape()));
}

inline void check_offsets(const char* op, const Offsets& offsets, int64_t tokens) {
  check_argument(offsets.total() == tokens, op, "expected offsets that end at the {} tokens of x, got {}",
                 tokens, offsets.total());
}

inline const float* data_or_null(const Tensor& t) {
  return t.defined() ? t.data() : nullptr;
}

// Memory for an elementwise result: the operand's own when this handle is the last one (it is undefined
// afterwards), else fresh. from() is where the operand's elements stand.
struct Reused {
  Tensor out;
  Tensor held;
  const float* from() const { return held.defined() ? held.data() : out.data(); }
};
inline Reused reuse(Tensor& operand) {
  if (operand.unique()) return {std::move(operand), {}};
  return {Tensor::empty(operand.shape()), operand};
}

// Calls f with the indices as const int32_t* or const int64_t*. They must be a vector (of `n` when n >= 0).
template <class F>
void with_indices(const char* op, const char* what, const Tensor& ids, int64_t n, F&& f) {
  check_argument(ids.defined() && (ids.dtype() == DType::kI32 || ids.dtype() == DType::kI64), op,
                 "expected {} of int32 or int64, got {}", what,
                 ids.defined() ? to_string(ids.dtype()) : "an undefined tensor");
  check_argument(ids.rank() == 1 && (n < 0 || ids.dim(0) == n), op, "expected {} of shape [{}], got {}", what,
                 n < 0 ? std::string("n") : std::to_string(n), to_string(ids.shape()));
  if (ids.dtype() == DType::kI32) {
    f(ids.data<int32_t>());
  } else {
    f(ids.data<int64_t>());
  }
}

template <class Id>
void check_range(const char* op, const char* what, const Id* ids, int64_t n, int64_t low, int64_t high) {
  for (int64_t i = 0; i < n; ++i) {
    if (ids[i] < low || ids[i] >= high) [[unlikely]] {
      throw_argument(op, "expected {} in [{}, {}), got {} at {}", what, low, high,
                     static_cast<int64_t>(ids[i]), i);
    }
  }
}

// Zeroes a target that kernels only ever add to.
inline void zero_unless(bool accumulate, Tensor& t) {
  if (!accumulate) std::memset(t.raw(), 0, static_cast<size_t>(t.nbytes()));
}

}  // namespace fovea::autograd
