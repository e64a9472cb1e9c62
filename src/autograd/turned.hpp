// A weight turned round once for the many products that read it. Internal.
#pragma once

#include "fovea/base/memory.hpp"
#include "fovea/kernels/transpose.hpp"
#include "fovea/tensor/tensor.hpp"

namespace fovea::autograd {

// Wᵀ [in, out] of a weight [out, in]. Rows are `stride` elements apart.
struct Turned {
  explicit Turned(const Tensor& weight)
      : stride(kernels::transpose_stride(weight.dim(0))), data(static_cast<size_t>(weight.dim(1) * stride)) {
    kernels::transpose(weight.dim(0), weight.dim(1), weight.data(), weight.dim(1), data.data(), stride);
  }
  int64_t stride;
  Buffer<float> data;
};

}  // namespace fovea::autograd
