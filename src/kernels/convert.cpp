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

// binary16 by integers: what its own instructions would do, on every set.
void to_f16_body(int64_t n, const float* x, Float16* out) {
  const U32 d;
  const I32 di;
  const U16 d16;
  const F32 df;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto u = hn::BitCast(d, hn::LoadU(df, x + i));
    const auto sign = hn::And(hn::ShiftRight<16>(u), hn::Set(d, 0x8000u));
    const auto magnitude = hn::And(u, hn::Set(d, 0x7FFFFFFFu));
    const auto rebased = hn::Sub(magnitude, hn::Set(d, 0x38000000u));
    const auto odd = hn::And(hn::ShiftRight<13>(rebased), hn::Set(d, 1u));
    const auto normal = hn::ShiftRight<13>(hn::Add(rebased, hn::Add(odd, hn::Set(d, 0xFFFu))));
    // Adding 0.5 aligns the last place of a subnormal binary16 with that of the sum.
    const auto sum = hn::Add(hn::BitCast(df, magnitude), hn::Set(df, 0.5f));
    const auto subnormal = hn::Sub(hn::BitCast(d, sum), hn::Set(d, 0x3F000000u));
    auto bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x38800000u)), subnormal, normal);
    bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x477FF000u)), bits, hn::Set(d, 0x7C00u));
    bits = hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0x7F800000u)), hn::Set(d, 0x7E00u), bits);
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, hn::Or(sign, bits))), d16, &out[i].bits);
  }
  for (; i < n; ++i) out[i] = Float16(x[i]);
}

void from_f16_body(int64_t n, const Float16* x, float* out) {
  const U32 d;
  const U16 d16;
  const F32 df;
  const int64_t step = lanes();
  int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto u = hn::PromoteTo(d, hn::LoadU(d16, &x[i].bits));
    const auto sign = hn::ShiftLeft<16>(hn::And(u, hn::Set(d, 0x8000u)));
    const auto magnitude = hn::ShiftLeft<13>(hn::And(u, hn::Set(d, 0x7FFFu)));
    // An implicit leading one is put in and taken out again, which makes subnormal numbers normal.
    const auto lifted =
        hn::Sub(hn::BitCast(df, hn::Add(magnitude, hn::Set(d, 0x38800000u))), hn::Set(df, 0x1p-14f));
    const auto normal = hn::Add(magnitude, hn::Set(d, 0x38000000u));
    const auto special = hn::Or(magnitude, hn::Set(d, 0x7F800000u));
    auto bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x00800000u)), hn::BitCast(d, lifted), normal);
    bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x0F800000u)), bits, special);
    hn::StoreU(hn::BitCast(df, hn::Or(sign, bits)), df, out + i);
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

void to_f16(int64_t n, const float* x, Float16* out) {
  auto* body = FOVEA_KERNEL(to_f16_body);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { body(end - begin, x + begin, out + begin); });
}

void from_f16(int64_t n, const Float16* x, float* out) {
  auto* body = FOVEA_KERNEL(from_f16_body);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { body(end - begin, x + begin, out + begin); });
}

void from_bf16(int64_t n, const BFloat16* x, float* out) {
  auto* body = FOVEA_KERNEL(from_bf16_body);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { body(end - begin, x + begin, out + begin); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
