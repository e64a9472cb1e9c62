#include "fovea/tensor/shape.hpp"

#include "base/check.hpp"

namespace fovea {

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) {
  check_argument(dims.size() <= kMaxRank, "Shape", "expected at most {} dimensions, got {}", kMaxRank,
                 dims.size());
  rank_ = static_cast<int>(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    check_argument(dims[i] >= 0, "Shape", "expected dimensions >= 0, got {} at dimension {}", dims[i], i);
    dims_[i] = dims[i];
    check_argument(!__builtin_mul_overflow(numel_, dims[i], &numel_) && numel_ < (int64_t{1} << 62), "Shape",
                   "expected fewer than 2^62 elements; the product overflows at dimension {}", i);
  }
}

int64_t Shape::dim(int i) const {
  const int at = i < 0 ? i + rank_ : i;
  check_argument(at >= 0 && at < rank_, "Shape.dim", "expected a dimension in [-{}, {}), got {}", rank_,
                 rank_, i);
  return dims_[static_cast<size_t>(at)];
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.dims(), ", "));
}

}  // namespace fovea
