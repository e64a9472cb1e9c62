// Numbers as caches hold them, to vectors of floats.
#if defined(FOVEA_ATTENTION_DECODE_WIDEN_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_DECODE_WIDEN_INL
#undef FOVEA_ATTENTION_DECODE_WIDEN_INL
#else
#define FOVEA_ATTENTION_DECODE_WIDEN_INL
#endif

#include "fovea/tensor/dtype.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

HWY_INLINE V widen(const float* x) {
  return hn::LoadU(F(), x);
}
HWY_INLINE V widen(const BFloat16* x) {
  const hn::ScalableTag<uint32_t> du;
  const hn::Rebind<uint16_t, F> d16;
  return hn::BitCast(F(), hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, &x->bits))));
}
HWY_INLINE V widen(const Float16* x) {
#if HWY_TARGET == HWY_SSE2 || HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  // Without an instruction for it Highway takes ∞ and NaN for numbers. The exponent's bias grows from 15 to
  // 127 by a product, which serves subnormal numbers too.
  const F d;
  const hn::ScalableTag<uint32_t> du;
  const hn::Rebind<uint16_t, F> d16;
  const auto bits = hn::PromoteTo(du, hn::LoadU(d16, &x->bits));
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFu));
  const V finite = hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(magnitude)), hn::Set(d, 0x1p112f));
  const auto all_ones = hn::Gt(magnitude, hn::Set(du, 0x7BFFu));
  const auto exponent = hn::IfThenElseZero(all_ones, hn::Set(du, 0x7F800000u));
  const auto sign = hn::ShiftLeft<16>(hn::Xor(bits, magnitude));
  return hn::BitCast(d, hn::Or(hn::Or(hn::BitCast(du, finite), exponent), sign));
#else
  const hn::Rebind<hwy::float16_t, F> d16;
  const hn::Rebind<uint16_t, F> bits;
  return hn::PromoteTo(F(), hn::BitCast(d16, hn::LoadU(bits, &x->bits)));
#endif
}
HWY_INLINE V widen(const int8_t* x) {
  const hn::Rebind<int8_t, F> d8;
  return hn::ConvertTo(F(), hn::PromoteTo(I(), hn::LoadU(d8, x)));
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
