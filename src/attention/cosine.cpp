#include "attention/cosine.hpp"

#include <algorithm>
#include <cmath>

#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

// Rows shorter than this count as zero: their direction is noise.
constexpr float kLeastNorm = 1e-12f;

float inverse_norm(const float* x, int64_t width) {
  double sum = 0;
  for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  const auto norm = static_cast<float>(std::sqrt(sum));
  return norm < kLeastNorm ? 0.0f : 1.0f / norm;
}

int64_t grain_of(int64_t row_size) {
  return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, row_size));
}

Tensor normalised(const HeadsView<const float>& x) {
  Tensor result = Tensor::empty({x.dim(0), x.dim(1), x.dim(2)});
  float* out = result.data();
  const int64_t heads = x.dim(1), width = x.dim(2);
  parallel_for(x.dim(0) * heads, grain_of(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* source = x.data + row / heads * x.stride(0) + row % heads * x.stride(1);
      const float factor = inverse_norm(source, width);
      for (int64_t c = 0; c < width; ++c) out[row * width + c] = source[c] * factor;
    }
  });
  return result;
}

}  // namespace

Normalised normalise_for(const AttentionInputs& inputs, const AttentionSpec& spec) {
  Normalised n{inputs, Tensor(), Tensor()};
  if (spec.score != Score::kCosine) return n;
  n.q = normalised(inputs.q);
  n.k = normalised(inputs.k);
  n.inputs.q = contiguous_view<const float, 3>(n.q.data(), inputs.q.dims);
  n.inputs.k = contiguous_view<const float, 3>(n.k.data(), inputs.k.dims);
  return n;
}

void normalise_backward(const HeadsView<const float>& x, const HeadsView<float>& gradient) {
  if (gradient.data == nullptr) return;
  const int64_t heads = x.dim(1), width = x.dim(2);
  parallel_for(x.dim(0) * heads, grain_of(width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* source = x.data + row / heads * x.stride(0) + row % heads * x.stride(1);
      float* g = gradient.data + row / heads * gradient.stride(0) + row % heads * gradient.stride(1);
      const float factor = inverse_norm(source, width);
      double along = 0;
      for (int64_t c = 0; c < width; ++c)
        along += static_cast<double>(g[c]) * static_cast<double>(source[c] * factor);
      for (int64_t c = 0; c < width; ++c)
        g[c] = factor * (g[c] - source[c] * factor * static_cast<float>(along));
    }
  });
}

}  // namespace fovea
