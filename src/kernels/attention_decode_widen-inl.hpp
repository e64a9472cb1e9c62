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
  const hn::Rebind<hwy::float16_t, F> d16;
  const hn::Rebind<uint16_t, F> bits;
  return hn::PromoteTo(F(), hn::BitCast(d16, hn::LoadU(bits, &x->bits)));
}
HWY_INLINE V widen(const int8_t* x) {
  const hn::Rebind<int8_t, F> d8;
  return hn::ConvertTo(F(), hn::PromoteTo(I(), hn::LoadU(d8, x)));
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
