// FOVEA_ATTENTION_SELECT(name): name(isa) gives the N_<target>::name of an instruction set, and
// name_workspace(isa) the size of its workspace. Inside HWY_ONCE of the file that defines the bodies.
#pragma once

#include "fovea/base/cpu.hpp"

#if defined(__x86_64__)
#define FOVEA_ATTENTION_PICK(isa, name) \
  ((isa) == Isa::kAvx512 ? &N_AVX3::name : (isa) == Isa::kAvx2 ? &N_AVX2::name : &HWY_STATIC_DISPATCH(name))
#else
#define FOVEA_ATTENTION_PICK(isa, name) (static_cast<void>(isa), &HWY_STATIC_DISPATCH(name))
#endif

#define FOVEA_ATTENTION_SELECT(name)                                                   \
  decltype(AttentionKernels::name) attention_##name(Isa isa) {                         \
    return FOVEA_ATTENTION_PICK(isa, name);                                            \
  }                                                                                    \
  decltype(AttentionKernels::name##_workspace) attention_##name##_workspace(Isa isa) { \
    return FOVEA_ATTENTION_PICK(isa, name##_workspace);                                \
  }
