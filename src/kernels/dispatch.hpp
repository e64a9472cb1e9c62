// FOVEA_KERNEL(name): the pointer to N_<target>::name that current_isa() asks for. Evaluate once per public
// call, inside HWY_ONCE of the file that defines the bodies.
#pragma once

#include "fovea/base/cpu.hpp"

namespace fovea::kernels {

template <class Function>
Function* select_kernel([[maybe_unused]] Isa isa, Function* baseline, [[maybe_unused]] Function* avx2,
                        [[maybe_unused]] Function* avx512) {
  if (isa == Isa::kAvx512) return avx512;
  return isa == Isa::kAvx2 ? avx2 : baseline;
}

}  // namespace fovea::kernels

#if defined(__x86_64__)
#define FOVEA_KERNEL(name)                                                                           \
  ::fovea::kernels::select_kernel(::fovea::current_isa(), &HWY_STATIC_DISPATCH(name), &N_AVX2::name, \
                                  &N_AVX3::name)
#else
#define FOVEA_KERNEL(name) (&HWY_STATIC_DISPATCH(name))
#endif
