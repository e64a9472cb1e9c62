// What the norm bodies are given.
#pragma once

#include <cstdint>

namespace fovea::kernels {

struct NormForward {
  int64_t cols;
  const float* x;
  const float* residual;  // null: none
  const float* gamma;
  const float* beta;
  float eps;
  float* sum_out;
  float* y;
  float* mean;
  float* rstd;
  bool centred;  // LayerNorm, else RMSNorm
};

struct NormApply {
  int64_t cols;
  const float* x;
  const float* gamma;
  const float* beta;
  const float* mean;  // null: RMSNorm
  const float* rstd;
  float* y;
};

struct NormBackward {
  int64_t cols;
  const float* x;
  const float* gamma;
  const float* mean;
  const float* rstd;
  const float* dy;
  float* dx;
  bool centred;
  bool accumulate_dx;
};

}  // namespace fovea::kernels
