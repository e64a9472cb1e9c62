// What this processor can do, and which instruction set the kernels use.
#pragma once

#include <string>
#include <vector>

namespace fovea {

// Kernel instruction sets, weakest first. kBaseline is what every processor of the architecture has
// (SSE2 on x86-64, NEON on aarch64).
enum class Isa { kBaseline, kAvx2, kAvx512 };

// What the processor has, whichever set is in use. On other machines than x86-64 every flag is false.
struct CpuFeatures {
  bool avx2_fma = false;     // AVX2 and FMA3, both
  bool avx512 = false;       // F, BW, DQ, VL, CD
  bool avx512_bf16 = false;  // with avx512: dot products of bf16 pairs
  bool avx512_vnni = false;  // with avx512: dot products of int8 quadruples
  bool amx_bf16 = false;     // the instruction exists; the system may still refuse the tile registers
  std::string model_name;    // as the system states it, "" when unknown
};

// Asked of the processor at the first call. Thread-safe.
const CpuFeatures& cpu_features();

// Whether this process may use AMX tile registers: the processor has amx_bf16 and the system grants them,
// which is asked for (arch_prctl) at the first call and holds for all threads.
bool amx_permitted();

// The sets that both this build and this processor have, weakest first; never empty.
std::vector<Isa> available_isas();

// The set in use: the strongest available one, or the one that FOVEA_ISA names (baseline, avx2, avx512).
// ArgumentError at the first call where FOVEA_ISA names another, or one that is not available.
Isa current_isa();

// Forces a set, for tests and comparisons; ArgumentError if it is not available. Not while kernels run.
void set_isa(Isa isa);

// "baseline", "avx2" or "avx512", as FOVEA_ISA takes them.
const char* to_string(Isa isa);

}  // namespace fovea
