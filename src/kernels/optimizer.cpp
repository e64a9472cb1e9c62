#include "fovea/kernels/optimizer.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/optimizer.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

// Elements [begin, end) of one tensor.
void adam_body(const AdamStep& s, const OptimizerTensor& t, int64_t begin, int64_t end) {
  const F32 d;
  const float lr = s.learning_rate * t.lr_scale;
  const double c1 = 1.0 - std::pow(static_cast<double>(s.beta1), static_cast<double>(s.step));
  const double c2 = 1.0 - std::pow(static_cast<double>(s.beta2), static_cast<double>(s.step));
  // lr·(m/c1)/(√(v/c2) + eps) = (lr/c1)·m/(√v/√c2 + eps)
  const VF rate = hn::Set(d, static_cast<float>(static_cast<double>(lr) / c1));
  const VF root = hn::Set(d, static_cast<float>(1.0 / std::sqrt(c2)));
  const VF eps = hn::Set(d, s.eps);
  const VF beta1 = hn::Set(d, s.beta1), beta2 = hn::Set(d, s.beta2);
  const VF rest1 = hn::Set(d, 1.0f - s.beta1), rest2 = hn::Set(d, 1.0f - s.beta2);
  const VF grad_scale = hn::Set(d, s.grad_scale);
  const VF shrink = hn::Set(d, s.decoupled ? 1.0f - lr * t.weight_decay : 1.0f);
  const VF added = hn::Set(d, s.decoupled ? 0.0f : t.weight_decay);
  const VF ahead = hn::Set(d, 1.0f - s.average_decay);
  for_vectors(end - begin, [&](int64_t at, int64_t count) HWY_ATTR {
    const int64_t i = begin + at;
    VF p = load_some(t.param + i, count);
    const VF g = hn::MulAdd(added, p, hn::Mul(grad_scale, load_some(t.grad + i, count)));
    const VF m = hn::MulAdd(beta1, load_some(t.m + i, count), hn::Mul(rest1, g));
    const VF v = hn::MulAdd(beta2, load_some(t.v + i, count), hn::Mul(rest2, hn::Mul(g, g)));
    const VF step = hn::Div(hn::Mul(rate, m), hn::MulAdd(hn::Sqrt(v), root, eps));
    p = hn::MulSub(p, shrink, step);
    store_some(m, t.m + i, count);
    store_some(v, t.v + i, count);
    store_some(p, t.param + i, count);
    if (t.average != nullptr) {
      const VF average = load_some(t.average + i, count);
      store_some(hn::MulAdd(ahead, hn::Sub(p, average), average), t.average + i, count);
    }
  });
}

void sgd_body(const SgdStep& s, const OptimizerTensor& t, int64_t begin, int64_t end) {
  const F32 d;
  const VF rate = hn::Set(d, s.learning_rate * t.lr_scale);
  const VF decay = hn::Set(d, t.weight_decay);
  const VF momentum = hn::Set(d, s.momentum);
  const VF grad_scale = hn::Set(d, s.grad_scale);
  const VF ahead = hn::Set(d, 1.0f - s.average_decay);
  for_vectors(end - begin, [&](int64_t at, int64_t count) HWY_ATTR {
    const int64_t i = begin + at;
    VF p = load_some(t.param + i, count);
    VF g = hn::MulAdd(decay, p, hn::Mul(grad_scale, load_some(t.grad + i, count)));
    if (t.m != nullptr) {
      const VF m = hn::MulAdd(momentum, load_some(t.m + i, count), g);
      store_some(m, t.m + i, count);
      g = s.nesterov ? hn::MulAdd(momentum, m, g) : m;
    }
    p = hn::NegMulAdd(rate, g, p);
    store_some(p, t.param + i, count);
    if (t.average != nullptr) {
      const VF average = load_some(t.average + i, count);
      store_some(hn::MulAdd(ahead, hn::Sub(p, average), average), t.average + i, count);
    }
  });
}

float squares_body(int64_t n, const float* x) {
  return sum_vectors(n, [x](int64_t i, int64_t count) HWY_ATTR {
    const VF v = load_some(x + i, count);
    return hn::Mul(v, v);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cstring>

#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

namespace {

constexpr int64_t kChunk = 4096;

int64_t chunks_of(const OptimizerTensor& t) {
  return (t.n + kChunk - 1) / kChunk;
}

int64_t chunks_of(std::span<const OptimizerTensor> tensors) {
  int64_t chunks = 0;
  for (const OptimizerTensor& t : tensors) chunks += chunks_of(t);
  return chunks;
}

// Calls body(tensor, begin, end, chunk) for the chunks [first, last) of all tensors laid end to end.
template <class Body>
void for_chunks(std::span<const OptimizerTensor> tensors, int64_t first, int64_t last, Body&& body) {
  int64_t base = 0;
  for (const OptimizerTensor& t : tensors) {
    const int64_t chunks = chunks_of(t);
    for (int64_t c = std::max(first, base); c < std::min(last, base + chunks); ++c) {
      body(t, (c - base) * kChunk, std::min(t.n, (c - base + 1) * kChunk), c);
    }
    base += chunks;
    if (base >= last) return;
  }
}

template <class Step>
void run(void (*body)(const Step&, const OptimizerTensor&, int64_t, int64_t), const Step& step,
         std::span<const OptimizerTensor> tensors) {
  parallel_for(chunks_of(tensors), 2, [&](int64_t first, int64_t last) {
    for_chunks(tensors, first, last, [&](const OptimizerTensor& t, int64_t begin, int64_t end, int64_t) {
      body(step, t, begin, end);
    });
  });
}

}  // namespace

void adam_step(const AdamStep& step, std::span<const OptimizerTensor> tensors) {
  run(FOVEA_KERNEL(adam_body), step, tensors);
}

void sgd_step(const SgdStep& step, std::span<const OptimizerTensor> tensors) {
  run(FOVEA_KERNEL(sgd_body), step, tensors);
}

double grad_squared_norm(std::span<const OptimizerTensor> tensors) {
  auto* body = FOVEA_KERNEL(squares_body);
  const int64_t chunks = chunks_of(tensors);
  Buffer<double> partial(static_cast<size_t>(chunks));
  parallel_for(chunks, kGrain / kChunk, [&](int64_t first, int64_t last) {
    for_chunks(tensors, first, last, [&](const OptimizerTensor& t, int64_t begin, int64_t end, int64_t c) {
      partial[static_cast<size_t>(c)] = static_cast<double>(body(end - begin, t.grad + begin));
    });
  });
  double total = 0.0;
  for (int64_t c = 0; c < chunks; ++c) total += partial[static_cast<size_t>(c)];
  return total;
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
