// Shapes of up to six dimensions, held in place: making one allocates nothing.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace fovea {

// The dimensions of a tensor, outermost first; a dimension of 0 is fine.
class Shape {
 public:
  static constexpr int kMaxRank = 6;  // dimensions held in place

  Shape() = default;  // rank 0: one element
  // ArgumentError for more than six dimensions, a negative one, or 2^62 elements and more.
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }  // how many dimensions
  // i in [-rank, rank); negative counts from the end. ArgumentError outside.
  int64_t dim(int i) const;
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(i)]; }  // unchecked, i >= 0
  int64_t numel() const { return numel_; }                                   // their product; 1 for rank 0
  // Outermost first, in this object's own memory.
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }

  friend bool operator==(const Shape& a, const Shape& b) { return a.rank_ == b.rank_ && a.dims_ == b.dims_; }

 private:
  std::array<int64_t, kMaxRank> dims_{};
  int64_t numel_ = 1;
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[2, 8, 128, 64]"

}  // namespace fovea
