#include "fovea/kernels/activation.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

// Each activation gives its value, and value and derivative together.
struct ValueAndSlope {
  VF value;
  VF slope;
};

struct Relu {
  static HWY_INLINE VF value(VF x) { return at_least(0.0f, x); }
  static HWY_INLINE ValueAndSlope both(VF x) {
    const F32 d;
    return {value(x), hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f))};
  }
};

struct Gelu {
  static HWY_INLINE VF value(VF x) { return hn::Mul(x, normal_cdf(x).cdf); }
  static HWY_INLINE ValueAndSlope both(VF x) {
    const NormalCdf n = normal_cdf(x);
    const VF density = hn::Mul(n.gauss, hn::Set(F32(), 0.39894228f));
    return {hn::Mul(x, n.cdf), hn::MulAdd(x, density, n.cdf)};
  }
};

struct GeluTanh {
  // (1 + tanh u)/2 = σ(2u), which keeps its digits in the negative tail.
  static constexpr float kTwoC = 1.5957691216f;  // 2·√(2/π)
  // Beyond ±16 the gate is 0 or 1 to every digit; the bound keeps the slope's x² finite.
  static HWY_INLINE VF bounded(VF x) { return at_most(16.0f, at_least(-16.0f, x)); }
  static HWY_INLINE VF gate(VF x) {
    const F32 d;
    const VF cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.044715f), hn::Set(d, 1.0f));
    return sigmoid(hn::Mul(hn::Mul(hn::Set(d, kTwoC), x), cubic));
  }
  static HWY_INLINE VF value(VF x) { return hn::Mul(x, gate(bounded(x))); }
  static HWY_INLINE ValueAndSlope both(VF x) {
    const F32 d;
    const VF b = bounded(x);
    const VF s = gate(b);
    const VF du = hn::MulAdd(hn::Mul(b, b), hn::Set(d, kTwoC * 3.0f * 0.044715f), hn::Set(d, kTwoC));
    const VF ds = hn::Mul(hn::Mul(s, hn::Sub(hn::Set(d, 1.0f), s)), du);
    return {hn::Mul(x, s), hn::MulAdd(b, ds, s)};
  }
};

struct Silu {
  static HWY_INLINE VF value(VF x) { return hn::Mul(x, sigmoid(x)); }
  static HWY_INLINE ValueAndSlope both(VF x) {
    const VF s = sigmoid(x);
    const VF y = hn::Mul(x, s);
    return {y, hn::MulAdd(y, hn::Sub(hn::Set(F32(), 1.0f), s), s)};
  }
};

struct Sigmoid {
  static HWY_INLINE VF value(VF x) { return sigmoid(x); }
  static HWY_INLINE VF slope_of_value(VF y) { return hn::NegMulAdd(y, y, y); }
  static HWY_INLINE ValueAndSlope both(VF x) {
    const VF y = sigmoid(x);
    return {y, slope_of_value(y)};
  }
};

struct Tanh {
  static HWY_INLINE VF value(VF x) { return tanh(x); }
  static HWY_INLINE VF slope_of_value(VF y) { return hn::NegMulAdd(y, y, hn::Set(F32(), 1.0f)); }
  static HWY_INLINE ValueAndSlope both(VF x) {
    const VF y = tanh(x);
    return {y, slope_of_value(y)};
  }
};

// Calls f with the activation's type.
template <class F>
HWY_INLINE void with_activation(Activation act, F&& f) {
  switch (act) {
    case Activation::kRelu:
      return f(Relu());
    case Activation::kGelu:
      return f(Gelu());
    case Activation::kGeluTanh:
      return f(GeluTanh());
    case Activation::kSilu:
      return f(Silu());
    case Activation::kSigmoid:
      return f(Sigmoid());
    case Activation::kTanh:
      return f(Tanh());
  }
}

template <class Act>
HWY_NOINLINE void forward_loop(int64_t n, const float* x, float* y) {
  map1(n, x, y, [](VF v) HWY_ATTR { return Act::value(v); });
}

template <class Act>
HWY_NOINLINE void backward_loop(int64_t n, const float* x, const float* y, const float* dy, float* dx,
                                bool accumulate) {
  constexpr bool kFromValue = requires(VF v) { Act::slope_of_value(v); };
  const float* source = kFromValue ? y : x;
  const auto slope = [](VF v) HWY_ATTR {
    if constexpr (kFromValue) {
      return Act::slope_of_value(v);
    } else {
      return Act::both(v).slope;
    }
  };
  if (accumulate) {
    map3(n, source, dy, dx, dx, [&](VF v, VF g, VF old) HWY_ATTR { return hn::MulAdd(g, slope(v), old); });
  } else {
    map2(n, source, dy, dx, [&](VF v, VF g) HWY_ATTR { return hn::Mul(g, slope(v)); });
  }
}

template <class Act>
HWY_NOINLINE void glu_forward_loop(int64_t rows, int64_t cols, const float* x, float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* gate = x + r * 2 * cols;
    map2(cols, gate, gate + cols, y + r * cols,
         [](VF g, VF u) HWY_ATTR { return hn::Mul(Act::value(g), u); });
  }
}

template <class Act>
HWY_NOINLINE void glu_backward_loop(int64_t rows, int64_t cols, const float* x, const float* dy, float* dx) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* gate = x + r * 2 * cols;
    const float* up = gate + cols;
    const float* grad = dy + r * cols;
    float* dgate = dx + r * 2 * cols;
    for_vectors(cols, [&](int64_t i, int64_t count) HWY_ATTR {
      const VF g = load_some(grad + i, count);
      const VF u = load_some(up + i, count);
      const ValueAndSlope a = Act::both(load_some(gate + i, count));
      store_some(hn::Mul(hn::Mul(g, u), a.slope), dgate + i, count);
      store_some(hn::Mul(g, a.value), dgate + cols + i, count);
    });
  }
}

template <class Act>
HWY_NOINLINE void backward_with_value_loop(int64_t n, const float* x, const float* dy, float* y, float* dx) {
  for_vectors(n, [&](int64_t i, int64_t count) HWY_ATTR {
    const ValueAndSlope a = Act::both(load_some(x + i, count));
    store_some(hn::Mul(load_some(dy + i, count), a.slope), dx + i, count);
    store_some(a.value, y + i, count);
  });
}

template <class Act>
HWY_NOINLINE void glu_backward_with_value_loop(int64_t rows, int64_t cols, const float* x, const float* dy,
                                               float* y, float* dx) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* gate = x + r * 2 * cols;
    float* dgate = dx + r * 2 * cols;
    for_vectors(cols, [&](int64_t i, int64_t count) HWY_ATTR {
      const VF g = load_some(dy + r * cols + i, count);
      const VF u = load_some(gate + cols + i, count);
      const ValueAndSlope a = Act::both(load_some(gate + i, count));
      store_some(hn::Mul(a.value, u), y + r * cols + i, count);
      store_some(hn::Mul(hn::Mul(g, u), a.slope), dgate + i, count);
      store_some(hn::Mul(g, a.value), dgate + cols + i, count);
    });
  }
}

void forward_body(Activation act, int64_t n, const float* x, float* y) {
  with_activation(act, [&](auto a) HWY_ATTR { forward_loop<decltype(a)>(n, x, y); });
}
void backward_body(Activation act, int64_t n, const float* x, const float* y, const float* dy, float* dx,
                   bool accumulate) {
  with_activation(act, [&](auto a) HWY_ATTR { backward_loop<decltype(a)>(n, x, y, dy, dx, accumulate); });
}
void glu_forward_body(Activation act, int64_t rows, int64_t cols, const float* x, float* y) {
  with_activation(act, [&](auto a) HWY_ATTR { glu_forward_loop<decltype(a)>(rows, cols, x, y); });
}
void glu_backward_body(Activation act, int64_t rows, int64_t cols, const float* x, const float* dy,
                       float* dx) {
  with_activation(act, [&](auto a) HWY_ATTR { glu_backward_loop<decltype(a)>(rows, cols, x, dy, dx); });
}
void backward_with_value_body(Activation act, int64_t n, const float* x, const float* dy, float* y,
                              float* dx) {
  with_activation(act, [&](auto a) HWY_ATTR { backward_with_value_loop<decltype(a)>(n, x, dy, y, dx); });
}
void glu_backward_with_value_body(Activation act, int64_t rows, int64_t cols, const float* x, const float* dy,
                                  float* y, float* dx) {
  with_activation(
      act, [&](auto a) HWY_ATTR { glu_backward_with_value_loop<decltype(a)>(rows, cols, x, dy, y, dx); });
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

void activation_forward(Activation act, int64_t n, const float* x, float* y) {
  auto* body = FOVEA_KERNEL(forward_body);
  parallel_for(n, kCostlyGrain * 2,
               [&](int64_t begin, int64_t end) { body(act, end - begin, x + begin, y + begin); });
}

void activation_backward(Activation act, int64_t n, const float* x, const float* y, const float* dy,
                         float* dx, bool accumulate) {
  auto* body = FOVEA_KERNEL(backward_body);
  // Only one of x and y is read; give the other its place so that no null pointer is moved.
  if (x == nullptr) x = y;
  if (y == nullptr) y = x;
  parallel_for(n, kCostlyGrain * 2, [&](int64_t begin, int64_t end) {
    body(act, end - begin, x + begin, y + begin, dy + begin, dx + begin, accumulate);
  });
}

void glu_forward(Activation act, int64_t rows, int64_t cols, const float* x, float* y) {
  auto* body = FOVEA_KERNEL(glu_forward_body);
  parallel_for(rows, row_grain(cols, kCostlyGrain * 2), [&](int64_t begin, int64_t end) {
    body(act, end - begin, cols, x + begin * 2 * cols, y + begin * cols);
  });
}

void glu_backward(Activation act, int64_t rows, int64_t cols, const float* x, const float* dy, float* dx) {
  auto* body = FOVEA_KERNEL(glu_backward_body);
  parallel_for(rows, row_grain(cols, kCostlyGrain * 2), [&](int64_t begin, int64_t end) {
    body(act, end - begin, cols, x + begin * 2 * cols, dy + begin * cols, dx + begin * 2 * cols);
  });
}

void activation_backward_with_value(Activation act, int64_t n, const float* x, const float* dy, float* y,
                                    float* dx) {
  auto* body = FOVEA_KERNEL(backward_with_value_body);
  parallel_for(n, kCostlyGrain * 2, [&](int64_t begin, int64_t end) {
    body(act, end - begin, x + begin, dy + begin, y + begin, dx + begin);
  });
}

void glu_backward_with_value(Activation act, int64_t rows, int64_t cols, const float* x, const float* dy,
                             float* y, float* dx) {
  auto* body = FOVEA_KERNEL(glu_backward_with_value_body);
  parallel_for(rows, row_grain(cols, kCostlyGrain * 2), [&](int64_t begin, int64_t end) {
    body(act, end - begin, cols, x + begin * 2 * cols, dy + begin * cols, y + begin * cols,
         dx + begin * 2 * cols);
  });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
