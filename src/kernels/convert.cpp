#include "fovea/kernels/convert.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convert.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

using U32 = hn::RebindToUnsigned<F32>;
using U16 = hn::Rebind<uint16_t, F32>;

void to_bf16_body(int64_t n, const float* x, BFloat16* out) {
  const U32 d;
  const I32 di;
  const U16 d16;
  const int64_t step = lanes();
  const auto infinity = hn::Set(d, 0x7F800000u);
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto u = hn::BitCast(d, hn::LoadU(F32(), x + i));
    // Half of the last kept place, less one where that place is even: ties go to even.
    const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(d, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(d, 0x7FFFu))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(u), hn::Set(d, 0x40u));
    const auto is_nan = hn::Gt(hn::And(u, hn::Set(d, 0x7FFFFFFFu)), infinity);
    const auto bits = hn::DemoteTo(d16, hn::BitCast(di, hn::IfThenElse(is_nan, quiet, rounded)));
    hn::StoreU(bits, d16, &out[i].bits);
  }
  for (; i < n; ++i) out[i] = BFloat16(x[i]);
}

void from_bf16_body(int64_t n, const BFloat16* x, float* out) {
  const U32 d;
  const U16 d16;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(d, hn::LoadU(d16, &x[i].bits)));
    hn::StoreU(hn::BitCast(F32(), bits), F32(), out + i);
  }
  for (; i < n; ++i) out[i] = static_cast<float>(x[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

void to_bf16(int64_t n, const float* x, BFloat16* out) {
  auto* body = FOVEA_KERNEL(to_bf16_body);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { body(end - begin, x + begin, out + begin); });
}

void from_bf16(int64_t n, const BFloat16* x, float* out) {
  auto* body = FOVEA_KERNEL(from_bf16_body);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { body(end - begin, x + begin, out + begin); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
