// Products whose operands were rounded as the precision of the moment asks (see precision.hpp).
#pragma once

#include "fovea/autograd/precision.hpp"
#include "fovea/kernels/convert.hpp"
#include "fovea/kernels/matmul.hpp"
#include "fovea/kernels/reduce.hpp"

namespace fovea::autograd {

// A matrix as a product reads it: itself, or a copy rounded to bf16 where float32 numbers are to be rounded.
inline Tensor rounded(const Tensor& x, Precision precision) {
  if (precision == Precision::kFloat32 || x.dtype() == DType::kBF16) return x;
  Tensor half = Tensor::empty(x.shape(), DType::kBF16);
  kernels::to_bf16(x.numel(), x.data(), half.data<BFloat16>());
  return half;
}

// In float32: itself, or a copy, exact.
inline Tensor widened(const Tensor& x) {
  if (x.dtype() == DType::kF32) return x;
  Tensor wide = Tensor::empty(x.shape());
  kernels::from_bf16(x.numel(), x.data<BFloat16>(), wide.data());
  return wide;
}

// The precision that an operand was rounded to: what backward must use after forward.
inline Precision precision_of(const Tensor& operand) {
  return operand.dtype() == DType::kBF16 ? Precision::kBFloat16 : Precision::kFloat32;
}

// C = op(A)·op(B); both operands have one type, C is float32, or bf16 as they are.
inline void multiply_into(const kernels::Matmul& spec, const Tensor& a, const Tensor& b, Tensor& c) {
  if (a.dtype() == DType::kF32) return kernels::matmul(spec, a.data(), b.data(), c.data());
  if (c.dtype() == DType::kBF16) {
    kernels::matmul_bf16(spec, a.data<BFloat16>(), b.data<BFloat16>(), c.data<BFloat16>());
  } else {
    kernels::matmul_bf16(spec, a.data<BFloat16>(), b.data<BFloat16>(), c.data());
  }
}

// out[c] (+)= Σ_r x[r, c].
inline void sum_columns(const Tensor& x, float* out, bool accumulate) {
  if (x.dtype() == DType::kBF16) {
    kernels::column_sums(x.dim(0), x.dim(1), x.data<BFloat16>(), out, accumulate);
  } else {
    kernels::column_sums(x.dim(0), x.dim(1), x.data(), out, accumulate);
  }
}

}  // namespace fovea::autograd
