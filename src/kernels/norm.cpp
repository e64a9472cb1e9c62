#include "fovea/kernels/norm.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "kernels/norm_calls.hpp"
#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

struct Statistics {
  float mean;
  float rstd;
};

Statistics layer_statistics(int64_t cols, const float* x, float eps) {
  const float n = static_cast<float>(cols);
  const float mean =
      sum_vectors(cols, [x](int64_t i, int64_t count) HWY_ATTR { return load_some(x + i, count); }) / n;
  const VF m = hn::Set(F32(), mean);
  const float squares = sum_vectors(cols, [x, m](int64_t i, int64_t count) HWY_ATTR {
    const F32 d;
    VF c = hn::Sub(load_some(x + i, count), m);
    if (count < lanes()) c = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(count)), c);
    return hn::Mul(c, c);
  });
  return {mean, 1.0f / std::sqrt(squares / n + eps)};
}

Statistics rms_statistics(int64_t cols, const float* x, float eps) {
  const float squares = sum_vectors(cols, [x](int64_t i, int64_t count) HWY_ATTR {
    const VF v = load_some(x + i, count);
    return hn::Mul(v, v);
  });
  return {0.0f, 1.0f / std::sqrt(squares / static_cast<float>(cols) + eps)};
}

// y = (x - mean)·rstd·gamma + beta; gamma and beta may be null.
void normalise(int64_t cols, const float* x, Statistics s, const float* gamma, const float* beta, float* y) {
  const F32 d;
  const VF mean = hn::Set(d, s.mean), rstd = hn::Set(d, s.rstd);
  const auto unit = [mean, rstd](VF v) HWY_ATTR { return hn::Mul(hn::Sub(v, mean), rstd); };
  if (gamma != nullptr && beta != nullptr) {
    map3(cols, x, gamma, beta, y, [unit](VF v, VF g, VF b) HWY_ATTR { return hn::MulAdd(unit(v), g, b); });
  } else if (gamma != nullptr) {
    map2(cols, x, gamma, y, [unit](VF v, VF g) HWY_ATTR { return hn::Mul(unit(v), g); });
  } else if (beta != nullptr) {
    map2(cols, x, beta, y, [unit](VF v, VF b) HWY_ATTR { return hn::Add(unit(v), b); });
  } else {
    map1(cols, x, y, unit);
  }
}

void norm_forward_body(const NormForward& f, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const float* x = f.x + r * f.cols;
    if (f.residual != nullptr) {
      float* total = f.sum_out + r * f.cols;
      map2(f.cols, x, f.residual + r * f.cols, total, [](VF a, VF b) HWY_ATTR { return hn::Add(a, b); });
      x = total;
    }
    const Statistics s = f.centred ? layer_statistics(f.cols, x, f.eps) : rms_statistics(f.cols, x, f.eps);
    normalise(f.cols, x, s, f.gamma, f.beta, f.y + r * f.cols);
    if (f.mean != nullptr) f.mean[r] = s.mean;
    if (f.rstd != nullptr) f.rstd[r] = s.rstd;
  }
}

void norm_apply_body(const NormApply& f, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const Statistics s{f.mean == nullptr ? 0.0f : f.mean[r], f.rstd[r]};
    normalise(f.cols, f.x + r * f.cols, s, f.gamma, f.beta, f.y + r * f.cols);
  }
}

// With u = (x - mean)·rstd and g = dy·gamma: dx = rstd·(g - mean(g) - u·mean(g·u)); RMSNorm lacks the
// mean(g). dgamma and dbeta are this chunk's own sums: the first row writes them, later rows add.
void norm_backward_body(const NormBackward& f, int64_t begin, int64_t end, float* dgamma, float* dbeta) {
  const F32 d;
  const int64_t cols = f.cols;
  const float n = static_cast<float>(cols);
  if (dgamma != nullptr) std::memset(dgamma, 0, static_cast<size_t>(cols) * sizeof(float));
  if (dbeta != nullptr) std::memset(dbeta, 0, static_cast<size_t>(cols) * sizeof(float));
  for (int64_t r = begin; r < end; ++r) {
    const float* x = f.x + r * cols;
    const float* dy = f.dy + r * cols;
    float* dx = f.dx + r * cols;
    const VF mean = hn::Set(d, f.mean == nullptr ? 0.0f : f.mean[r]);
    const VF rstd = hn::Set(d, f.rstd[r]);
    VF sum_g = hn::Zero(d), sum_gu = hn::Zero(d);
    for_vectors(cols, [&](int64_t i, int64_t count) HWY_ATTR {
      const VF v = load_some(dy + i, count);  // 0 beyond the row, so the sums are not disturbed
      const VF u = hn::Mul(hn::Sub(load_some(x + i, count), mean), rstd);
      const VF g = f.gamma == nullptr ? v : hn::Mul(v, load_some(f.gamma + i, count));
      sum_g = hn::Add(sum_g, g);
      sum_gu = hn::MulAdd(g, u, sum_gu);
      if (dgamma != nullptr) store_some(hn::MulAdd(v, u, load_some(dgamma + i, count)), dgamma + i, count);
      if (dbeta != nullptr) store_some(hn::Add(v, load_some(dbeta + i, count)), dbeta + i, count);
    });
    const VF mean_g = hn::Set(d, f.centred ? hn::GetLane(hn::SumOfLanes(d, sum_g)) / n : 0.0f);
    const VF mean_gu = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, sum_gu)) / n);
    for_vectors(cols, [&](int64_t i, int64_t count) HWY_ATTR {
      const VF v = load_some(dy + i, count);
      const VF u = hn::Mul(hn::Sub(load_some(x + i, count), mean), rstd);
      const VF g = f.gamma == nullptr ? v : hn::Mul(v, load_some(f.gamma + i, count));
      VF out = hn::Mul(rstd, hn::NegMulAdd(u, mean_gu, hn::Sub(g, mean_g)));
      if (f.accumulate_dx) out = hn::Add(out, load_some(dx + i, count));
      store_some(out, dx + i, count);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/kernels/reduce.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {
namespace {

// Rows whose gradients of gamma and beta are summed by one thread.
constexpr int64_t kChunk = 64;

void forward(const NormForward& f, int64_t rows) {
  auto* body = FOVEA_KERNEL(norm_forward_body);
  parallel_for(rows, row_grain(f.cols), [&](int64_t begin, int64_t end) { body(f, begin, end); });
}

void backward(const NormBackward& f, int64_t rows, float* dgamma, float* dbeta) {
  if (rows <= 0 || f.cols <= 0) return;
  auto* body = FOVEA_KERNEL(norm_backward_body);
  const int64_t chunks = (rows + kChunk - 1) / kChunk;
  const int64_t partial = chunks * f.cols;
  Buffer<float> gammas(static_cast<size_t>(dgamma == nullptr ? 0 : partial));
  Buffer<float> betas(static_cast<size_t>(dbeta == nullptr ? 0 : partial));
  parallel_for(chunks, row_grain(kChunk * f.cols), [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      body(f, chunk * kChunk, std::min(rows, (chunk + 1) * kChunk),
           dgamma == nullptr ? nullptr : gammas.data() + chunk * f.cols,
           dbeta == nullptr ? nullptr : betas.data() + chunk * f.cols);
    }
  });
  if (dgamma != nullptr) column_sums(chunks, f.cols, gammas.data(), dgamma, true);
  if (dbeta != nullptr) column_sums(chunks, f.cols, betas.data(), dbeta, true);
}

}  // namespace

void layer_norm_forward(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* beta,
                        float eps, float* y, float* mean, float* rstd) {
  forward({cols, x, nullptr, gamma, beta, eps, nullptr, y, mean, rstd, true}, rows);
}

void norm_apply(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* beta,
                const float* mean, const float* rstd, float* y) {
  const NormApply f{cols, x, gamma, beta, mean, rstd, y};
  auto* body = FOVEA_KERNEL(norm_apply_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) { body(f, begin, end); });
}

void add_layer_norm_forward(int64_t rows, int64_t cols, const float* x, const float* residual,
                            const float* gamma, const float* beta, float eps, float* sum_out, float* y,
                            float* mean, float* rstd) {
  forward({cols, x, residual, gamma, beta, eps, sum_out, y, mean, rstd, true}, rows);
}

void layer_norm_backward(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* mean,
                         const float* rstd, const float* dy, float* dx, float* dgamma, float* dbeta,
                         bool accumulate_dx) {
  backward({cols, x, gamma, mean, rstd, dy, dx, true, accumulate_dx}, rows, dgamma, dbeta);
}

void rms_norm_forward(int64_t rows, int64_t cols, const float* x, const float* gamma, float eps, float* y,
                      float* rstd) {
  forward({cols, x, nullptr, gamma, nullptr, eps, nullptr, y, nullptr, rstd, false}, rows);
}

void add_rms_norm_forward(int64_t rows, int64_t cols, const float* x, const float* residual,
                          const float* gamma, float eps, float* sum_out, float* y, float* rstd) {
  forward({cols, x, residual, gamma, nullptr, eps, sum_out, y, nullptr, rstd, false}, rows);
}

void rms_norm_backward(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* rstd,
                       const float* dy, float* dx, float* dgamma, bool accumulate_dx) {
  backward({cols, x, gamma, nullptr, rstd, dy, dx, false, accumulate_dx}, rows, dgamma, nullptr);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
