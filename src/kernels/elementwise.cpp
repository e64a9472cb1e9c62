#include "fovea/kernels/elementwise.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

void add_body(int64_t n, const float* a, const float* b, float* out) {
  map2(n, a, b, out, [](VF x, VF y) HWY_ATTR { return hn::Add(x, y); });
}
void subtract_body(int64_t n, const float* a, const float* b, float* out) {
  map2(n, a, b, out, [](VF x, VF y) HWY_ATTR { return hn::Sub(x, y); });
}
void multiply_body(int64_t n, const float* a, const float* b, float* out) {
  map2(n, a, b, out, [](VF x, VF y) HWY_ATTR { return hn::Mul(x, y); });
}
void divide_body(int64_t n, const float* a, const float* b, float* out) {
  map2(n, a, b, out, [](VF x, VF y) HWY_ATTR { return hn::Div(x, y); });
}
void maximum_body(int64_t n, const float* a, const float* b, float* out) {
  map2(n, a, b, out, [](VF x, VF y) HWY_ATTR { return hn::Max(x, y); });
}
void multiply_add_body(int64_t n, const float* a, const float* b, float* out) {
  map3(n, a, b, out, out, [](VF x, VF y, VF z) HWY_ATTR { return hn::MulAdd(x, y, z); });
}
void axpy_body(int64_t n, float alpha, const float* x, float* y) {
  const VF s = hn::Set(F32(), alpha);
  map2(n, x, y, y, [s](VF v, VF w) HWY_ATTR { return hn::MulAdd(s, v, w); });
}
void scale_body(int64_t n, float alpha, const float* x, float* out) {
  const VF s = hn::Set(F32(), alpha);
  map1(n, x, out, [s](VF v) HWY_ATTR { return hn::Mul(s, v); });
}
void add_scalar_body(int64_t n, float alpha, const float* x, float* out) {
  const VF s = hn::Set(F32(), alpha);
  map1(n, x, out, [s](VF v) HWY_ATTR { return hn::Add(s, v); });
}
void interpolate_body(int64_t n, float alpha, const float* x, float* y) {
  const VF s = hn::Set(F32(), alpha);
  map2(n, x, y, y, [s](VF v, VF w) HWY_ATTR { return hn::MulAdd(s, hn::Sub(v, w), w); });
}
void clamp_body(int64_t n, float low, float high, const float* x, float* out) {
  map1(n, x, out, [low, high](VF v) HWY_ATTR { return at_most(high, at_least(low, v)); });
}
void exp_body(int64_t n, const float* x, float* out) {
  map1(n, x, out, [](VF v) HWY_ATTR { return exp(v); });
}
void log_body(int64_t n, const float* x, float* out) {
  // Highway's logarithm (error <= 1 unit in the last place on normal numbers) knows neither 0, nor infinity.
  map1(n, x, out, [](VF v) HWY_ATTR {
    const F32 d;
    const VF zero = hn::Zero(d);
    VF y = hn::Log(d, v);
    y = hn::IfThenElse(hn::Eq(v, zero), hn::Neg(hn::Inf(d)), y);
    y = hn::IfThenElse(hn::Lt(v, zero), hn::NaN(d), y);
    return hn::IfThenElse(hn::IsFinite(v), y, hn::Add(v, hn::IfThenElseZero(hn::Lt(v, zero), hn::NaN(d))));
  });
}
void sqrt_body(int64_t n, const float* x, float* out) {
  map1(n, x, out, [](VF v) HWY_ATTR { return hn::Sqrt(v); });
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cstring>

#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {
namespace {

using Binary = void(int64_t, const float*, const float*, float*);
using Unary = void(int64_t, const float*, float*);
using Scalar = void(int64_t, float, const float*, float*);

void run(Binary* body, int64_t n, const float* a, const float* b, float* out) {
  parallel_for(n, kGrain,
               [&](int64_t begin, int64_t end) { body(end - begin, a + begin, b + begin, out + begin); });
}
void run(Unary* body, int64_t grain, int64_t n, const float* x, float* out) {
  parallel_for(n, grain, [&](int64_t begin, int64_t end) { body(end - begin, x + begin, out + begin); });
}
void run(Scalar* body, int64_t n, float alpha, const float* x, float* out) {
  parallel_for(n, kGrain,
               [&](int64_t begin, int64_t end) { body(end - begin, alpha, x + begin, out + begin); });
}

}  // namespace

void add(int64_t n, const float* a, const float* b, float* out) {
  run(FOVEA_KERNEL(add_body), n, a, b, out);
}
void subtract(int64_t n, const float* a, const float* b, float* out) {
  run(FOVEA_KERNEL(subtract_body), n, a, b, out);
}
void multiply(int64_t n, const float* a, const float* b, float* out) {
  run(FOVEA_KERNEL(multiply_body), n, a, b, out);
}
void divide(int64_t n, const float* a, const float* b, float* out) {
  run(FOVEA_KERNEL(divide_body), n, a, b, out);
}
void maximum(int64_t n, const float* a, const float* b, float* out) {
  run(FOVEA_KERNEL(maximum_body), n, a, b, out);
}
void multiply_add(int64_t n, const float* a, const float* b, float* out) {
  run(FOVEA_KERNEL(multiply_add_body), n, a, b, out);
}
void axpy(int64_t n, float alpha, const float* x, float* y) {
  run(FOVEA_KERNEL(axpy_body), n, alpha, x, y);
}
void scale(int64_t n, float alpha, const float* x, float* out) {
  run(FOVEA_KERNEL(scale_body), n, alpha, x, out);
}
void add_scalar(int64_t n, float alpha, const float* x, float* out) {
  run(FOVEA_KERNEL(add_scalar_body), n, alpha, x, out);
}
void interpolate(int64_t n, float alpha, const float* x, float* y) {
  run(FOVEA_KERNEL(interpolate_body), n, alpha, x, y);
}
void fill(int64_t n, float value, float* out) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { std::fill(out + begin, out + end, value); });
}
void copy(int64_t n, const float* x, float* out) {
  if (x == out || n <= 0) return;
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(out + begin, x + begin, static_cast<size_t>(end - begin) * sizeof(float));
  });
}
void clamp(int64_t n, float low, float high, const float* x, float* out) {
  auto* body = FOVEA_KERNEL(clamp_body);
  parallel_for(n, kGrain,
               [&](int64_t begin, int64_t end) { body(end - begin, low, high, x + begin, out + begin); });
}
void exp(int64_t n, const float* x, float* out) {
  run(FOVEA_KERNEL(exp_body), kCostlyGrain, n, x, out);
}
void log(int64_t n, const float* x, float* out) {
  run(FOVEA_KERNEL(log_body), kCostlyGrain, n, x, out);
}
void sqrt(int64_t n, const float* x, float* out) {
  run(FOVEA_KERNEL(sqrt_body), kGrain, n, x, out);
}

void add_row(int64_t rows, int64_t cols, const float* x, const float* bias, float* out) {
  auto* body = FOVEA_KERNEL(add_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) body(cols, x + r * cols, bias, out + r * cols);
  });
}
void scale_columns(int64_t rows, int64_t cols, const float* x, const float* scale, float* out) {
  auto* body = FOVEA_KERNEL(multiply_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) body(cols, x + r * cols, scale, out + r * cols);
  });
}
void scale_rows(int64_t rows, int64_t cols, const float* x, const float* scale, float* out) {
  auto* body = FOVEA_KERNEL(scale_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) body(cols, scale[r], x + r * cols, out + r * cols);
  });
}
void copy_rows(int64_t rows, int64_t cols, const float* x, int64_t x_stride, float* out, int64_t out_stride) {
  if (cols <= 0) return;
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(out + r * out_stride, x + r * x_stride, static_cast<size_t>(cols) * sizeof(float));
    }
  });
}
void add_rows(int64_t rows, int64_t cols, const float* x, int64_t x_stride, float* out, int64_t out_stride) {
  auto* body = FOVEA_KERNEL(add_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      body(cols, x + r * x_stride, out + r * out_stride, out + r * out_stride);
    }
  });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
