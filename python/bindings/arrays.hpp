// NumPy arrays as the engine's views, and the engine's tensors as NumPy arrays. Nothing is copied.
#pragma once

#include <nanobind/ndarray.h>

#include <optional>
#include <span>

#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/tensor.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea::python {

template <class T, int Rank>
using Array = nanobind::ndarray<T, nanobind::ndim<Rank>, nanobind::device::cpu>;
using FloatRow = std::optional<Array<const float, 1>>;

// T is the engine's element type; 16-bit floats come as the uint16 that hold their bits.
template <class T, class Held>
HeadsView<const T> heads_view(const Array<const Held, 3>& x) {
  static_assert(sizeof(T) == sizeof(Held));
  HeadsView<const T> view{reinterpret_cast<const T*>(x.data()), {}, {}};
  for (size_t i = 0; i < 3; ++i) {
    view.dims[i] = static_cast<int64_t>(x.shape(i));
    view.strides[i] = x.stride(i);
  }
  if (x.size() == 0) view.strides = {0, 0, 1};  // NumPy's strides of nothing are anything
  return view;
}

inline std::span<const float> row_span(const FloatRow& x) {
  return x ? std::span<const float>(x->data(), x->size()) : std::span<const float>();
}

// An array that holds the tensor's memory until Python lets go of it.
inline nanobind::object to_numpy(const Tensor& x) {
  namespace nb = nanobind;
  if (!x.defined()) return nb::none();
  auto* kept = new Tensor(x);
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<Tensor*>(p); });
  size_t shape[Shape::kMaxRank];
  for (int i = 0; i < x.rank(); ++i) shape[i] = static_cast<size_t>(x.dim(i));
  nb::dlpack::dtype dtype = nb::dtype<float>();
  if (x.dtype() == DType::kF64) dtype = nb::dtype<double>();
  if (x.dtype() == DType::kI64) dtype = nb::dtype<int64_t>();
  if (x.dtype() == DType::kI32) dtype = nb::dtype<int32_t>();
  if (x.dtype() == DType::kBF16 || x.dtype() == DType::kF16) dtype = nb::dtype<uint16_t>();
  if (x.dtype() == DType::kBool) dtype = nb::dtype<bool>();
  return nb::cast(
      nb::ndarray<nb::numpy>(kept->raw(), static_cast<size_t>(x.rank()), shape, owner, nullptr, dtype));
}

}  // namespace fovea::python
