// Products whose operands were rounded as the precision of the moment asks (see precision.hpp).
#pragma once

#include "fovea/autograd/precision.hpp"
#include "fovea/kernels/convert.hpp"
#include "fovea/kernels/matmul.hpp"

namespace fovea::autograd {

// A matrix as a product reads it: itself in float32, or a copy rounded to bf16.
inline Tensor rounded(const Tensor& x, Precision precision) {
  if (precision == Precision::kFloat32) return x;
  Tensor half = Tensor::empty(x.shape(), DType::kBF16);
  kernels::to_bf16(x.numel(), x.data(), half.data<BFloat16>());
  return half;
}

// The precision that an operand was rounded to: what backward must use after forward.
inline Precision precision_of(const Tensor& operand) {
  return operand.dtype() == DType::kBF16 ? Precision::kBFloat16 : Precision::kFloat32;
}

// C = op(A)·op(B) in float32; both operands have one type.
inline void multiply_into(const kernels::Matmul& spec, const Tensor& a, const Tensor& b, Tensor& c) {
  if (a.dtype() == DType::kBF16) {
    kernels::matmul_bf16(spec, a.data<BFloat16>(), b.data<BFloat16>(), c.data());
  } else {
    kernels::matmul(spec, a.data(), b.data(), c.data());
  }
}

}  // namespace fovea::autograd
