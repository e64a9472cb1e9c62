// Conversions between float32 and bf16, rounding to nearest, ties to even; NaN stays NaN.
#pragma once

#include <cstdint>

#include "fovea/tensor/dtype.hpp"

namespace fovea::kernels {

void to_bf16(int64_t n, const float* x, BFloat16* out);
void from_bf16(int64_t n, const BFloat16* x, float* out);

}  // namespace fovea::kernels
