// Vector helpers for kernel bodies, compiled once per instruction set: exact loops with tails, and the
// elementary functions that kernels share. Tails run through the same vector operations as whole vectors, so
// an element has the same bits wherever a piece of work is cut.
#if defined(FOVEA_KERNELS_VECTOR_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_KERNELS_VECTOR_INL_HPP
#undef FOVEA_KERNELS_VECTOR_INL_HPP
#else
#define FOVEA_KERNELS_VECTOR_INL_HPP
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using VF = hn::Vec<F32>;

HWY_INLINE int64_t lanes() {
  return static_cast<int64_t>(hn::Lanes(F32()));
}

// The first `count` lanes from memory (0 < count < lanes), the others 0. Touches no byte beyond.
HWY_INLINE VF load_tail(const float* p, int64_t count) {
  const F32 d;
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(buffer, p, static_cast<size_t>(count) * sizeof(float));
  return hn::Load(d, buffer);
#else
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, p);
#endif
}

HWY_INLINE void store_tail(VF v, float* p, int64_t count) {
  const F32 d;
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN float buffer[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, d, buffer);
  std::memcpy(p, buffer, static_cast<size_t>(count) * sizeof(float));
#else
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, p);
#endif
}

// A vector of which `count` lanes (up to all) are real.
HWY_INLINE VF load_some(const float* p, int64_t count) {
  return count >= lanes() ? hn::LoadU(F32(), p) : load_tail(p, count);
}
HWY_INLINE void store_some(VF v, float* p, int64_t count) {
  if (count >= lanes()) {
    hn::StoreU(v, F32(), p);
  } else {
    store_tail(v, p, count);
  }
}

// Calls body(i, count) for each vector's worth of [0, n).
template <class Body>
HWY_INLINE void for_vectors(int64_t n, Body&& body) {
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) body(i, step);
  if (i < n) body(i, n - i);
}

// out[i] = f(x[i]) and so on.
template <class F>
HWY_INLINE void map1(int64_t n, const float* x, float* out, F&& f) {
  const F32 d;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) hn::StoreU(f(hn::LoadU(d, x + i)), d, out + i);
  if (i < n) store_tail(f(load_tail(x + i, n - i)), out + i, n - i);
}

template <class F>
HWY_INLINE void map2(int64_t n, const float* x, const float* y, float* out, F&& f) {
  const F32 d;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) hn::StoreU(f(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, out + i);
  if (i < n) store_tail(f(load_tail(x + i, n - i), load_tail(y + i, n - i)), out + i, n - i);
}

template <class F>
HWY_INLINE void map3(int64_t n, const float* x, const float* y, const float* z, float* out, F&& f) {
  const F32 d;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    hn::StoreU(f(hn::LoadU(d, x + i), hn::LoadU(d, y + i), hn::LoadU(d, z + i)), d, out + i);
  }
  if (i < n) {
    store_tail(f(load_tail(x + i, n - i), load_tail(y + i, n - i), load_tail(z + i, n - i)), out + i, n - i);
  }
}

// Sum over i of f(i, count), where lanes beyond count must be 0. Four accumulators hide the latency of
// addition.
template <class F>
HWY_INLINE float sum_vectors(int64_t n, F&& f) {
  const F32 d;
  const int64_t step = lanes();
  VF s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    s0 = hn::Add(s0, f(i, step));
    s1 = hn::Add(s1, f(i + step, step));
    s2 = hn::Add(s2, f(i + 2 * step, step));
    s3 = hn::Add(s3, f(i + 3 * step, step));
  }
  for (; i + step <= n; i += step) s0 = hn::Add(s0, f(i, step));
  if (i < n) s1 = hn::Add(s1, f(i, n - i));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

// max(low, x) and min(high, x), where x that is NaN stays NaN. x86's instructions return their second operand
// then; Highway's on NEON (fmaxnm, fminnm) the number, and the portable fall-back has no rule.
HWY_INLINE VF at_least(float low, VF x) {
  const VF l = hn::Set(F32(), low);
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return hn::Max(l, x);
#else
  return hn::IfThenElse(hn::Lt(x, l), l, x);
#endif
}
HWY_INLINE VF at_most(float high, VF x) {
  const VF h = hn::Set(F32(), high);
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return hn::Min(h, x);
#else
  return hn::IfThenElse(hn::Gt(x, h), h, x);
#endif
}

// 2^k for integers -126 <= k <= 127.
HWY_INLINE VF exp2_integer(hn::Vec<I32> k) {
  const I32 di;
  return hn::BitCast(F32(), hn::ShiftLeft<23>(hn::Add(k, hn::Set(di, 127))));
}

// e^r - 1 for |r| <= ln2/2: minimax polynomial, relative error 1.4e-8 before rounding.
HWY_INLINE VF expm1_reduced(VF r) {
  const F32 d;
  VF p = hn::Set(d, 0.0013882515765802957f);
  p = hn::MulAdd(p, r, hn::Set(d, 0.00836654735765461f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.0416672007278923f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.1666654342244682f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.4999999814955872f));
  return hn::MulAdd(hn::Mul(r, r), p, r);
}

// x - k·ln2 with ln2 in two parts, the first of few bits so that k times it is exact.
HWY_INLINE VF reduce_ln2(VF x, VF k) {
  const F32 d;
  return hn::NegMulAdd(k, hn::Set(d, -2.12194440e-4f), hn::NegMulAdd(k, hn::Set(d, 0.693359375f), x));
}

// e^x, relative error <= 2e-7 where the result is a normal number; 0 below -104, +inf above 88.73, NaN stays
// NaN.
HWY_INLINE VF exp(VF x) {
  const F32 d;
  const VF c = at_most(90.0f, at_least(-105.0f, x));
  const auto k = hn::NearestInt(hn::Mul(c, hn::Set(d, 1.44269504f)));
  const VF r = reduce_ln2(c, hn::ConvertTo(d, k));
  const VF m = hn::Add(hn::Set(d, 1.0f), expm1_reduced(r));
  // 2^k in two factors, for k reaches 130 and -151.
  const auto half = hn::ShiftRight<1>(k);
  return hn::Mul(hn::Mul(m, exp2_integer(half)), exp2_integer(hn::Sub(k, half)));
}

// tanh(x) = e/(e + 2) with e = e^2|x| - 1; relative error <= 4e-7.
HWY_INLINE VF tanh(VF x) {
  const F32 d;
  const VF a = at_most(20.0f, hn::Abs(hn::Add(x, x)));  // tanh(10) rounds to 1
  const auto k = hn::NearestInt(hn::Mul(a, hn::Set(d, 1.44269504f)));
  const VF p = expm1_reduced(reduce_ln2(a, hn::ConvertTo(d, k)));
  const VF s = exp2_integer(k);
  const VF e = hn::MulAdd(s, p, hn::Sub(s, hn::Set(d, 1.0f)));
  return hn::CopySign(hn::Div(e, hn::Add(e, hn::Set(d, 2.0f))), x);
}

// 1/(1 + e^-x), relative error <= 4e-7 for x >= -88.
HWY_INLINE VF sigmoid(VF x) {
  const F32 d;
  const VF one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, exp(hn::Neg(x))));
}

// Φ(x) and e^(-x²/2). erfc(z)·e^z² = t·P(t) with t = 1/(1 + 0.42·z), relative error 4e-8 before rounding.
struct NormalCdf {
  VF cdf;
  VF gauss;
};
HWY_INLINE NormalCdf normal_cdf(VF x) {
  const F32 d;
  const VF one = hn::Set(d, 1.0f);
  const VF z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
  const VF t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.42f), one));
  const VF gauss = exp(hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5f)));
  VF p = hn::Set(d, 0.07600436030892503f);
  p = hn::MulAdd(p, t, hn::Set(d, -0.3450521330159203f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.48496112112766776f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.17306815905406023f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.2924216891259341f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.1871046885011884f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.24089718479189032f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.23673126392307065f));
  const VF tail = hn::Mul(hn::Mul(hn::Set(d, 0.5f), gauss), hn::Mul(t, p));
  return {hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(one, tail)), gauss};
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#endif
