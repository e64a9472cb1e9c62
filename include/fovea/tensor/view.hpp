// View<T>: borrowed elements with strides (in elements). The caller keeps the memory alive. T may be const.
#pragma once

#include <array>
#include <cstdint>

#include "fovea/tensor/tensor.hpp"

namespace fovea {

template <class T, int Rank>
struct View {
  T* data = nullptr;
  std::array<int64_t, Rank> dims{};
  std::array<int64_t, Rank> strides{};

  int64_t dim(int i) const { return dims[static_cast<size_t>(i)]; }
  int64_t stride(int i) const { return strides[static_cast<size_t>(i)]; }
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
template <class T>
using HeadsView = View<T, 3>;  // [T, H, D], as layers hold packed heads

// Contiguous views of a tensor under the given dimensions, whose product must be the tensor's size.
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

// Columns [first, first + count·width) of a matrix [T, stride_row] seen as heads: [T, count, width].
template <class T>
HeadsView<T> heads_of_columns(T* data, int64_t tokens, int64_t row_stride, int64_t first, int64_t count,
                              int64_t width) {
  return {data + first, {tokens, count, width}, {row_stride, width, 1}};
}

}  // namespace fovea
