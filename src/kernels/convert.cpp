#include "fovea/kernels/convert.hpp"

#include "fovea/base/parallel.hpp"
#include "kernels/grain.hpp"

// The conversions are plain integer loops that compilers vectorise.
namespace fovea::kernels {

void to_bf16(int64_t n, const float* x, BFloat16* out) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = BFloat16(x[i]);
  });
}

void from_bf16(int64_t n, const BFloat16* x, float* out) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = static_cast<float>(x[i]);
  });
}

}  // namespace fovea::kernels
