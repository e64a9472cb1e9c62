// NumPy arrays as the engine's views, and the engine's tensors as NumPy arrays. Nothing is copied.
#pragma once

#include <nanobind/ndarray.h>

#include <algorithm>
#include <optional>
#include <span>

#include "fovea/tensor/tensor.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea::python {

template <class T>
using AnyArray = nanobind::ndarray<T, nanobind::device::cpu>;
template <class T, int Rank>
using Array = nanobind::ndarray<T, nanobind::ndim<Rank>, nanobind::device::cpu>;
// Elements side by side, for what is read through a pointer alone; other strides are refused.
template <class T, int Rank>
using DenseArray = nanobind::ndarray<T, nanobind::ndim<Rank>, nanobind::device::cpu, nanobind::c_contig>;

// Heads, packed [T, H, D] or batched [B, L, H, D]. T is the engine's element type; 16-bit floats come as the
// uint16 that hold their bits.
template <class T, class Held>
HeadsView<const T> heads_view(const AnyArray<const Held>& x) {
  static_assert(sizeof(T) == sizeof(Held));
  const bool batched = x.ndim() == 4;
  const size_t at = batched ? 1 : 0;
  HeadsView<const T> view;
  view.data = reinterpret_cast<const T*>(x.data());
  for (size_t i = 0; i < 3; ++i) {
    view.dims[i] = static_cast<int64_t>(x.shape(at + i));
    view.strides[i] = x.stride(at + i);
  }
  if (batched) {
    view.dims[0] *= static_cast<int64_t>(x.shape(0));
    if (x.shape(0) > 1) view.sequence_stride = x.stride(0);
  }
  if (x.size() == 0) {  // NumPy's strides of nothing are anything
    view.strides = {0, 0, 1};
    view.sequence_stride = 0;
  }
  return view;
}

// [N, H, Lq, Lk], broadcast along axes of stride 0.
template <class T>
ScoresView<const T> scores_view(const std::optional<Array<const T, 4>>& x) {
  ScoresView<const T> view;
  if (!x) return view;
  view.data = x->data();
  for (size_t i = 0; i < 4; ++i) {
    view.dims[i] = static_cast<int64_t>(x->shape(i));
    view.strides[i] = x->stride(i);
  }
  return view;
}

template <class T>
std::span<const T> row_span(const std::optional<DenseArray<const T, 1>>& x) {
  return x ? std::span<const T>(x->data(), x->size()) : std::span<const T>();
}

// An array that holds the tensor's memory until Python lets go of it; 16-bit floats as uint16.
inline nanobind::object to_numpy(const Tensor& x) {
  namespace nb = nanobind;
  auto* kept = new Tensor(x);
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<Tensor*>(p); });
  size_t shape[Shape::kMaxRank];
  for (int i = 0; i < x.rank(); ++i) shape[i] = static_cast<size_t>(x.dim(i));
  nb::dlpack::dtype dtype = nb::dtype<float>();
  if (x.dtype() == DType::kF64) dtype = nb::dtype<double>();
  if (x.dtype() == DType::kI64) dtype = nb::dtype<int64_t>();
  if (x.dtype() == DType::kBF16 || x.dtype() == DType::kF16) dtype = nb::dtype<uint16_t>();
  return nb::cast(
      nb::ndarray<nb::numpy>(kept->raw(), static_cast<size_t>(x.rank()), shape, owner, nullptr, dtype));
}

}  // namespace fovea::python
