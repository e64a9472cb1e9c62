// Tensor: an n-dimensional array that owns its memory, always contiguous (row-major), 64-byte aligned.
// A Tensor is a handle: copying it shares the elements (as a shared_ptr does); clone() copies them. The
// reference count is atomic; the elements are not guarded: one writer, or many readers. View: borrowed,
// typed, strided; see view.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <utility>

#include "fovea/tensor/dtype.hpp"
#include "fovea/tensor/shape.hpp"

namespace fovea {

// Of any dtype and up to six dimensions. Default-made it is undefined, which stands for "none" in many
// places.
class Tensor {
 public:
  Tensor() = default;  // undefined: no shape, no elements
  Tensor(const Tensor& other) noexcept;
  Tensor(Tensor&& other) noexcept : Tensor() { swap(other); }
  // Two, not one that takes its argument by value: in templates clang 16 never destroys that of `x = {}`.
  Tensor& operator=(const Tensor& other) noexcept {
    Tensor copy(other);
    swap(copy);
    return *this;
  }
  Tensor& operator=(Tensor&& other) noexcept {
    Tensor taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~Tensor();

  static Tensor empty(const Shape& shape, DType dtype = DType::kF32);  // uninitialised

  // Every element 0, or `value` converted to the dtype as to() does.
  static Tensor zeros(const Shape& shape, DType dtype = DType::kF32);
  static Tensor full(const Shape& shape, double value, DType dtype = DType::kF32);

  // A copy of the values, row by row, of the dtype that T is. ArgumentError unless they are as many as the
  // shape asks for.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape);
  template <class T>
  static Tensor from(std::initializer_list<T> values, const Shape& shape) {
    return from(std::span<const T>(values.begin(), values.size()), shape);
  }

  // Whether there are elements to ask about; a tensor of 0 elements is defined.
  bool defined() const { return storage_ != nullptr; }
  explicit operator bool() const { return defined(); }

  // As Shape has them; dim() counts negative i from the end. An undefined tensor says rank 0, 0 elements,
  // kF32.
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_.dim(i); }
  int64_t numel() const { return defined() ? shape_.numel() : 0; }
  DType dtype() const { return dtype_; }
  int64_t nbytes() const { return numel() * static_cast<int64_t>(size_of(dtype_)); }

  // Whether no other handle (or slice) shares the elements; false for an undefined tensor.
  bool unique() const;

  // Pointers to the first element. ArgumentError if T is not the dtype, and for an undefined tensor.
  template <class T = float>
  T* data() {
    check_dtype(dtype_of<T>);
    return static_cast<T*>(raw());
  }
  // The same, to read.
  template <class T = float>
  const T* data() const {
    check_dtype(dtype_of<T>);
    return static_cast<const T*>(raw());
  }
  // All elements, row by row; ArgumentError as data().
  template <class T = float>
  std::span<T> span() {
    return {data<T>(), static_cast<size_t>(numel())};
  }
  // The same, to read.
  template <class T = float>
  std::span<const T> span() const {
    return {data<T>(), static_cast<size_t>(numel())};
  }
  // The first element whatever its type; null for an undefined tensor.
  void* raw() { return base_; }
  const void* raw() const { return base_; }

  // The same elements under another shape; shares memory. ArgumentError unless it has as many elements.
  Tensor reshape(const Shape& shape) const;
  // Rows [begin, end) along dimension 0; shares memory. ArgumentError unless 0 <= begin <= end <= dim(0).
  Tensor rows(int64_t begin, int64_t end) const;
  // A copy with memory of its own; undefined stays undefined.
  Tensor clone() const;
  // Converted to another dtype: to a float type rounded to nearest (to 16 bits by way of float32), to an
  // integer cut off towards zero, to bool as x ≠ 0. Shares memory when the dtype is the same. Numbers that an
  // integer type cannot hold are not checked for.
  Tensor to(DType dtype) const;
  // Sets every element to `value`, converted as to() does. ArgumentError for an undefined tensor.
  void fill(double value);
  void copy_from(const Tensor& source);  // ArgumentError unless of the same shape and dtype

  // Exchanges the handles; the elements stay where they are.
  void swap(Tensor& other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(base_, other.base_);
    std::swap(shape_, other.shape_);
    std::swap(dtype_, other.dtype_);
  }

 private:
  struct Storage;
  void check_dtype(DType wanted) const;

  Storage* storage_ = nullptr;
  void* base_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

}  // namespace fovea
