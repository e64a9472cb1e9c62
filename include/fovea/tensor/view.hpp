// View<T>: borrowed elements with strides (in elements). The caller keeps the memory alive. T may be const.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "fovea/tensor/tensor.hpp"

namespace fovea {

// Element (i, j, …) lies at data + i·strides[0] + j·strides[1] + …; a stride may be 0. Without data: none.
template <class T, int Rank>
struct View {
  T* data = nullptr;                    // the element of index 0 everywhere
  std::array<int64_t, Rank> dims{};     // outermost first
  std::array<int64_t, Rank> strides{};  // in elements

  // Of axis i, not checked: 0 is the outermost, negative ones do not count from the end.
  int64_t dim(int i) const { return dims[static_cast<size_t>(i)]; }
  int64_t stride(int i) const { return strides[static_cast<size_t>(i)]; }

  // The product of the dimensions, elements that a stride of 0 repeats counted each time.
  int64_t numel() const {
    int64_t n = 1;
    for (const int64_t d : dims) n *= d;
    return n;
  }

  // A view of writable elements is a view of readable ones.
  operator View<const T, Rank>() const  // NOLINT(google-explicit-constructor)
    requires(!std::is_const_v<T>)
  {
    return {data, dims, strides};
  }
};

template <class T>
using MatrixView = View<T, 2>;  // [rows, columns]

// [T, H, D]: packed heads, the rows of sequence n following those of sequence n − 1. With a sequence_stride,
// sequence n begins at data + n·sequence_stride instead, so that [B, H, L, D] is a view too (see
// heads_of_batch).
template <class T>
struct HeadsView : View<T, 3> {
  int64_t sequence_stride = 0;  // in elements; 0: packed

  HeadsView() = default;
  // Of dimensions [T, H, D] and the steps from one token, head and element to the next, in elements.
  HeadsView(T* first, const std::array<int64_t, 3>& dimensions, const std::array<int64_t, 3>& steps,
            int64_t step_of_sequences = 0)
      : View<T, 3>{first, dimensions, steps}, sequence_stride(step_of_sequences) {}
  // Packed heads, or a view of writable ones, where readable ones are asked for.
  template <class U>
    requires(std::is_convertible_v<U*, T*>)
  HeadsView(const View<U, 3>& x)  // NOLINT(google-explicit-constructor)
      : View<T, 3>{x.data, x.dims, x.strides} {}
  template <class U>
    requires(std::is_convertible_v<U*, T*>)
  HeadsView(const HeadsView<U>& x)  // NOLINT(google-explicit-constructor)
      : View<T, 3>{x.data, x.dims, x.strides}, sequence_stride(x.sequence_stride) {}
};

// Contiguous elements (row-major) under the given dimensions; the caller answers for there being as many.
template <class T, int Rank>
View<T, Rank> contiguous_view(T* data, const std::array<int64_t, Rank>& dims) {
  View<T, Rank> v{data, dims, {}};
  int64_t stride = 1;
  for (int i = Rank - 1; i >= 0; --i) {
    v.strides[static_cast<size_t>(i)] = stride;
    stride *= dims[static_cast<size_t>(i)];
  }
  return v;
}

// A number for each sequence, head, query and key: [N, H, Lq, Lk]. A stride of 0 broadcasts.
template <class T>
using ScoresView = View<T, 4>;

// Contiguous elements of dimensions `dims`, each either 1 or that of `wanted`, broadcast to `wanted`.
template <class T>
ScoresView<T> broadcast_scores(T* data, const std::array<int64_t, 4>& dims,
                               const std::array<int64_t, 4>& wanted) {
  ScoresView<T> v = contiguous_view<T, 4>(data, dims);
  for (size_t i = 0; i < 4; ++i) {
    if (dims[i] == 1) v.strides[i] = 0;
  }
  v.dims = wanted;
  return v;
}

// Columns [first, first + count·width) of a matrix [T, stride_row] seen as heads: [T, count, width].
template <class T>
HeadsView<T> heads_of_columns(T* data, int64_t tokens, int64_t row_stride, int64_t first, int64_t count,
                              int64_t width) {
  return {data + first, {tokens, count, width}, {row_stride, width, 1}};
}

// A contiguous [B, H, L, D] as the heads of B sequences of L tokens (their offsets: Offsets::uniform(B, L)).
template <class T>
HeadsView<T> heads_of_batch(T* data, int64_t batch, int64_t count, int64_t length, int64_t width) {
  return {data, {batch * length, count, width}, {width, length * width, 1}, count * length * width};
}

}  // namespace fovea
