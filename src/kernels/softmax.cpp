#include "fovea/kernels/softmax.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <limits>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

// Largest element of a row, -inf for none. A NaN may be passed over: the sum after it shows it.
HWY_INLINE float row_max(int64_t cols, const float* x) {
  const F32 d;
  const VF lowest = hn::Neg(hn::Inf(d));
  VF top = lowest;
  for_vectors(cols, [&](int64_t i, int64_t count) HWY_ATTR {
    VF v = load_some(x + i, count);
    if (count < lanes()) v = hn::IfThenElse(hn::FirstN(d, static_cast<size_t>(count)), v, lowest);
    top = hn::Max(v, top);
  });
  return hn::GetLane(hn::MaxOfLanes(d, top));
}

HWY_INLINE bool has_nan(int64_t cols, const float* x) {
  for (int64_t c = 0; c < cols; ++c) {
    if (x[c] != x[c]) return true;
  }
  return false;
}

HWY_INLINE float row_sum(int64_t cols, const float* x) {
  return sum_vectors(cols, [x](int64_t i, int64_t count) HWY_ATTR { return load_some(x + i, count); });
}

HWY_INLINE float exp_sum(int64_t cols, const float* x, float top) {
  const VF m = hn::Set(F32(), top);
  return sum_vectors(cols, [x, m](int64_t i, int64_t count) HWY_ATTR {
    const VF e = exp(hn::Sub(load_some(x + i, count), m));
    return count < lanes() ? hn::IfThenElseZero(hn::FirstN(F32(), static_cast<size_t>(count)), e) : e;
  });
}

// log Σ e^x; -inf when every element is.
HWY_INLINE float row_lse(int64_t cols, const float* x) {
  const float top = row_max(cols, x);
  if (top == -std::numeric_limits<float>::infinity() && !has_nan(cols, x)) return top;
  return top + std::log(exp_sum(cols, x, top));
}

void softmax_body(int64_t rows, int64_t cols, const float* x, float* y) {
  if (cols <= 0) return;
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float top = row_max(cols, x);
    if (top == -std::numeric_limits<float>::infinity() && !has_nan(cols, x)) {
      std::memset(y, 0, static_cast<size_t>(cols) * sizeof(float));
      continue;
    }
    const VF m = hn::Set(F32(), top);
    map1(cols, x, y, [m](VF v) HWY_ATTR { return exp(hn::Sub(v, m)); });
    const VF inverse = hn::Set(F32(), 1.0f / row_sum(cols, y));
    map1(cols, y, y, [inverse](VF v) HWY_ATTR { return hn::Mul(v, inverse); });
  }
}

void softmax_backward_body(int64_t rows, int64_t cols, const float* y, const float* dy, float* dx) {
  for (int64_t r = 0; r < rows; ++r, y += cols, dy += cols, dx += cols) {
    const float dot = sum_vectors(cols, [y, dy](int64_t i, int64_t count) HWY_ATTR {
      return hn::Mul(load_some(y + i, count), load_some(dy + i, count));
    });
    const VF s = hn::Set(F32(), dot);
    map2(cols, y, dy, dx, [s](VF p, VF g) HWY_ATTR { return hn::Mul(p, hn::Sub(g, s)); });
  }
}

void log_softmax_body(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    const float lse = row_lse(cols, x);
    // An all-masked row: -inf - 0 stays -inf.
    const VF l = hn::Set(F32(), lse == -std::numeric_limits<float>::infinity() ? 0.0f : lse);
    map1(cols, x, y, [l](VF v) HWY_ATTR { return hn::Sub(v, l); });
  }
}

void log_softmax_backward_body(int64_t rows, int64_t cols, const float* y, const float* dy, float* dx) {
  for (int64_t r = 0; r < rows; ++r, y += cols, dy += cols, dx += cols) {
    const VF s = hn::Set(F32(), row_sum(cols, dy));
    map2(cols, y, dy, dx, [s](VF v, VF g) HWY_ATTR { return hn::NegMulAdd(exp(v), s, g); });
  }
}

void log_sum_exp_body(int64_t rows, int64_t cols, const float* x, float* lse) {
  for (int64_t r = 0; r < rows; ++r) lse[r] = row_lse(cols, x + r * cols);
}

// Σ_c w[c]·x[c], w null for ones.
float weighted_sum_body(int64_t cols, const float* w, const float* x) {
  if (w == nullptr) return row_sum(cols, x);
  return sum_vectors(cols, [w, x](int64_t i, int64_t count) HWY_ATTR {
    return hn::Mul(load_some(w + i, count), load_some(x + i, count));
  });
}

// One row's gradient but for its target: dx[c] = a·softmax[c] - b·w[c]. The target's share is the caller's.
void cross_entropy_gradient_body(int64_t cols, const float* x, float lse, float a, float b, const float* w,
                                 float* dx) {
  const F32 d;
  const VF l = hn::Set(d, lse), scale = hn::Set(d, a), shift = hn::Set(d, b);
  if (w == nullptr) {
    map1(cols, x, dx,
         [l, scale, shift](VF v) HWY_ATTR { return hn::MulSub(scale, exp(hn::Sub(v, l)), shift); });
  } else {
    map2(cols, x, w, dx, [l, scale, shift](VF v, VF u) HWY_ATTR {
      return hn::MulSub(scale, exp(hn::Sub(v, l)), hn::Mul(shift, u));
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

void softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  auto* body = FOVEA_KERNEL(softmax_body);
  parallel_for(rows, row_grain(cols, kCostlyGrain * 2), [&](int64_t begin, int64_t end) {
    body(end - begin, cols, x + begin * cols, y + begin * cols);
  });
}

void softmax_backward(int64_t rows, int64_t cols, const float* y, const float* dy, float* dx) {
  auto* body = FOVEA_KERNEL(softmax_backward_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    body(end - begin, cols, y + begin * cols, dy + begin * cols, dx + begin * cols);
  });
}

void log_softmax(int64_t rows, int64_t cols, const float* x, float* y) {
  auto* body = FOVEA_KERNEL(log_softmax_body);
  parallel_for(rows, row_grain(cols, kCostlyGrain * 2), [&](int64_t begin, int64_t end) {
    body(end - begin, cols, x + begin * cols, y + begin * cols);
  });
}

void log_softmax_backward(int64_t rows, int64_t cols, const float* y, const float* dy, float* dx) {
  auto* body = FOVEA_KERNEL(log_softmax_backward_body);
  parallel_for(rows, row_grain(cols, kCostlyGrain * 2), [&](int64_t begin, int64_t end) {
    body(end - begin, cols, y + begin * cols, dy + begin * cols, dx + begin * cols);
  });
}

void log_sum_exp(int64_t rows, int64_t cols, const float* x, float* lse) {
  auto* body = FOVEA_KERNEL(log_sum_exp_body);
  parallel_for(rows, row_grain(cols, kCostlyGrain * 2),
               [&](int64_t begin, int64_t end) { body(end - begin, cols, x + begin * cols, lse + begin); });
}

namespace {

struct CrossEntropyKernels {
  decltype(FOVEA_KERNEL(log_sum_exp_body)) log_sum_exp = FOVEA_KERNEL(log_sum_exp_body);
  decltype(FOVEA_KERNEL(weighted_sum_body)) weighted_sum = FOVEA_KERNEL(weighted_sum_body);
  decltype(FOVEA_KERNEL(cross_entropy_gradient_body)) gradient = FOVEA_KERNEL(cross_entropy_gradient_body);
};

// Sums over classes that label smoothing asks for.
struct Smoothing {
  float each = 0.0f;     // s/classes
  float weights = 0.0f;  // Σ w
  explicit Smoothing(const CrossEntropy& spec) {
    if (spec.label_smoothing == 0.0f) return;
    each = spec.label_smoothing / static_cast<float>(spec.classes);
    double total = static_cast<double>(spec.classes);
    if (spec.class_weights != nullptr) {
      total = 0.0;
      for (int64_t c = 0; c < spec.classes; ++c) total += static_cast<double>(spec.class_weights[c]);
    }
    weights = static_cast<float>(total);
  }
};

float target_weight(const CrossEntropy& spec, int64_t target) {
  return (1.0f - spec.label_smoothing) * (spec.class_weights == nullptr ? 1.0f : spec.class_weights[target]);
}

float row_loss(const CrossEntropy& spec, const CrossEntropyKernels& kernels, const Smoothing& smoothing,
               const float* x, int64_t target, float lse) {
  float loss = target_weight(spec, target) * (lse - x[target]);
  if (smoothing.each != 0.0f) {
    loss += smoothing.each *
            (lse * smoothing.weights - kernels.weighted_sum(spec.classes, spec.class_weights, x));
  }
  return loss;
}

void row_gradient(const CrossEntropy& spec, const CrossEntropyKernels& kernels, const Smoothing& smoothing,
                  const float* x, int64_t target, float lse, float scale, float* dx) {
  const float own = target_weight(spec, target);
  const float smooth = scale * smoothing.each;
  kernels.gradient(spec.classes, x, lse, scale * own + smooth * smoothing.weights, smooth,
                   smooth == 0.0f ? nullptr : spec.class_weights, dx);
  dx[target] -= scale * own;
}

template <class Index>
double weight(const CrossEntropy& spec, const Index* targets) {
  double total = 0.0;
  for (int64_t r = 0; r < spec.rows; ++r) {
    const int64_t target = targets[r];
    if (target == spec.ignore_index) continue;
    total += spec.class_weights == nullptr ? 1.0 : static_cast<double>(spec.class_weights[target]);
  }
  return total;
}

template <class Index>
void run(const CrossEntropy& spec, const float* logits, const Index* targets, const float* lse_in,
         float scale, const float* row_scale, float* loss, float* lse_out, float* dlogits) {
  const CrossEntropyKernels kernels;
  const Smoothing smoothing(spec);
  const int64_t cols = spec.classes;
  parallel_for(spec.rows, row_grain(cols, kCostlyGrain * 2), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float* x = logits + r * cols;
      float* dx = dlogits == nullptr ? nullptr : dlogits + r * cols;
      const int64_t target = targets[r];
      const bool ignored = target == spec.ignore_index;
      float lse = 0.0f;
      if (lse_in != nullptr) {
        lse = lse_in[r];
      } else if (!ignored || lse_out != nullptr) {
        kernels.log_sum_exp(1, cols, x, &lse);
      }
      if (lse_out != nullptr) lse_out[r] = lse;
      if (loss != nullptr) loss[r] = ignored ? 0.0f : row_loss(spec, kernels, smoothing, x, target, lse);
      if (dx == nullptr) continue;
      if (ignored) {
        std::memset(dx, 0, static_cast<size_t>(cols) * sizeof(float));
      } else {
        row_gradient(spec, kernels, smoothing, x, target, lse,
                     row_scale == nullptr ? scale : scale * row_scale[r], dx);
      }
    }
  });
}

}  // namespace

double cross_entropy_weight(const CrossEntropy& spec, const int64_t* targets) {
  return weight(spec, targets);
}
double cross_entropy_weight(const CrossEntropy& spec, const int32_t* targets) {
  return weight(spec, targets);
}

void cross_entropy_forward(const CrossEntropy& spec, const float* logits, const int64_t* targets, float* loss,
                           float* lse) {
  run(spec, logits, targets, nullptr, 1.0f, nullptr, loss, lse, nullptr);
}
void cross_entropy_forward(const CrossEntropy& spec, const float* logits, const int32_t* targets, float* loss,
                           float* lse) {
  run(spec, logits, targets, nullptr, 1.0f, nullptr, loss, lse, nullptr);
}
void cross_entropy_backward(const CrossEntropy& spec, const float* logits, const int64_t* targets,
                            const float* lse, float scale, const float* row_scale, float* dlogits) {
  run(spec, logits, targets, lse, scale, row_scale, nullptr, nullptr, dlogits);
}
void cross_entropy_backward(const CrossEntropy& spec, const float* logits, const int32_t* targets,
                            const float* lse, float scale, const float* row_scale, float* dlogits) {
  run(spec, logits, targets, lse, scale, row_scale, nullptr, nullptr, dlogits);
}
void cross_entropy_forward_backward(const CrossEntropy& spec, const float* logits, const int64_t* targets,
                                    float scale, float* loss, float* dlogits) {
  run(spec, logits, targets, nullptr, scale, nullptr, loss, nullptr, dlogits);
}
void cross_entropy_forward_backward(const CrossEntropy& spec, const float* logits, const int32_t* targets,
                                    float scale, float* loss, float* dlogits) {
  run(spec, logits, targets, nullptr, scale, nullptr, loss, nullptr, dlogits);
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
