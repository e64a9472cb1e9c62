#include "attention/score.hpp"

#include <algorithm>
#include <cmath>

#include "attention/sequence.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

// Rows shorter than this count as zero: their direction is noise.
constexpr float kLeastNorm = 1e-12f;

double squared_norm(const float* x, int64_t width) {
  double sum = 0;
  for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return sum;
}

float inverse_norm(const float* x, int64_t width) {
  const auto norm = static_cast<float>(std::sqrt(squared_norm(x, width)));
  return norm < kLeastNorm ? 0.0f : 1.0f / norm;
}

// Calls use(n, i, h, row) for every row of x, row counting in a contiguous [T, H].
template <class Use>
void for_rows(const HeadsView<const float>& x, const Offsets& offsets, Use use) {
  const int64_t heads = x.dim(1);
  const int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(1, heads * x.dim(2)));
  parallel_for(x.dim(0), grain, [&](int64_t begin, int64_t end) {
    for_tokens(offsets, begin, end, [&](int64_t n, int64_t i, int64_t t) {
      for (int64_t h = 0; h < heads; ++h) use(n, i, h, t * heads + h);
    });
  });
}

Tensor normalised(const HeadsView<const float>& x, const Offsets& offsets) {
  const int64_t width = x.dim(2);
  Tensor result = Tensor::empty({x.dim(0), x.dim(1), width});
  float* out = result.data();
  for_rows(x, offsets, [&](int64_t n, int64_t i, int64_t h, int64_t row) {
    const float* source = row_of(x, offsets, n, i, h);
    const float factor = inverse_norm(source, width);
    for (int64_t c = 0; c < width; ++c) out[row * width + c] = source[c] * factor;
  });
  return result;
}

// [2q, −|q|², −1] or [k, 1, |k|²].
Tensor with_norms(const HeadsView<const float>& x, const Offsets& offsets, bool query) {
  const int64_t width = x.dim(2);
  Tensor result = Tensor::empty({x.dim(0), x.dim(1), width + 2});
  float* out = result.data();
  for_rows(x, offsets, [&](int64_t n, int64_t i, int64_t h, int64_t row) {
    const float* source = row_of(x, offsets, n, i, h);
    const auto norm = static_cast<float>(squared_norm(source, width));
    float* to = out + row * (width + 2);
    for (int64_t c = 0; c < width; ++c) to[c] = query ? 2.0f * source[c] : source[c];
    to[width] = query ? -norm : 1.0f;
    to[width + 1] = query ? -1.0f : norm;
  });
  return result;
}

// In place: turns the gradient of x/|x| into the gradient of x, (g − u(u·g)) / |x|.
void normalise_backward(const HeadsView<const float>& x, const Offsets& offsets,
                        const HeadsView<float>& gradient) {
  const int64_t width = x.dim(2);
  for_rows(x, offsets, [&](int64_t n, int64_t i, int64_t h, int64_t) {
    const float* source = row_of(x, offsets, n, i, h);
    float* g = row_of(gradient, offsets, n, i, h);
    const float factor = inverse_norm(source, width);
    double along = 0;
    for (int64_t c = 0; c < width; ++c)
      along += static_cast<double>(g[c]) * static_cast<double>(source[c] * factor);
    for (int64_t c = 0; c < width; ++c)
      g[c] = factor * (g[c] - source[c] * factor * static_cast<float>(along));
  });
}

// dq = 2·dq'[…D] − 2q·dq'[D];   dk = dk'[…D] + 2k·dk'[D + 1].
void norms_backward(const HeadsView<const float>& x, const Offsets& offsets, bool query, const Tensor& inner,
                    const HeadsView<float>& gradient) {
  const int64_t width = x.dim(2);
  for_rows(x, offsets, [&](int64_t n, int64_t i, int64_t h, int64_t row) {
    const float* source = row_of(x, offsets, n, i, h);
    const float* from = inner.data() + row * (width + 2);
    float* g = row_of(gradient, offsets, n, i, h);
    const float along = query ? -from[width] : from[width + 1];
    for (int64_t c = 0; c < width; ++c) g[c] = (query ? 2.0f * from[c] : from[c]) + 2.0f * along * source[c];
  });
}

HeadsView<float> rows_of(Tensor& x) {
  return contiguous_view<float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}

}  // namespace

Transformed transform_for(const AttentionInputs& inputs, Score score) {
  Transformed t{inputs, Tensor(), Tensor()};
  if (score == Score::kCosine) {
    t.q = normalised(inputs.q, inputs.q_offsets);
    t.k = normalised(inputs.k, inputs.k_offsets);
  } else if (score == Score::kNegSquaredL2) {
    t.q = with_norms(inputs.q, inputs.q_offsets, true);
    t.k = with_norms(inputs.k, inputs.k_offsets, false);
  } else {
    return t;
  }
  t.inputs.q = rows_of(t.q);
  t.inputs.k = rows_of(t.k);
  return t;
}

ScoreGradients::ScoreGradients(const AttentionInputs& inputs, Score score, const AttentionGradients& wanted)
    : inputs_(inputs), score_(score), wanted_(wanted), inner_(wanted) {
  if (score_ != Score::kNegSquaredL2) return;
  if (wanted.dq.data != nullptr) {
    dq_ = Tensor::empty({inputs.q.dim(0), inputs.q.dim(1), inputs.q.dim(2) + 2});
    inner_.dq = rows_of(dq_);
  }
  if (wanted.dk.data != nullptr) {
    dk_ = Tensor::empty({inputs.k.dim(0), inputs.k.dim(1), inputs.k.dim(2) + 2});
    inner_.dk = rows_of(dk_);
  }
}

void ScoreGradients::pull_back() const {
  const bool dq = wanted_.dq.data != nullptr, dk = wanted_.dk.data != nullptr;
  if (score_ == Score::kCosine) {
    if (dq) normalise_backward(inputs_.q, inputs_.q_offsets, wanted_.dq);
    if (dk) normalise_backward(inputs_.k, inputs_.k_offsets, wanted_.dk);
  } else if (score_ == Score::kNegSquaredL2) {
    if (dq) norms_backward(inputs_.q, inputs_.q_offsets, true, dq_, wanted_.dq);
    if (dk) norms_backward(inputs_.k, inputs_.k_offsets, false, dk_, wanted_.dk);
  }
}

}  // namespace fovea
