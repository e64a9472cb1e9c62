#include "fovea/base/cpu.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>

#include "base/check.hpp"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fovea {
namespace {

std::string model_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) {
      const size_t colon = line.find(':');
      return colon == std::string::npos ? "" : line.substr(std::min(line.size(), colon + 2));
    }
  }
  return "";
}

CpuFeatures detect() {
  CpuFeatures f;
#if defined(__x86_64__)
  __builtin_cpu_init();
  f.avx2_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  f.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512cd");
  f.avx512_bf16 = f.avx512 && __builtin_cpu_supports("avx512bf16");
  f.avx512_vnni = f.avx512 && __builtin_cpu_supports("avx512vnni");
  // CPUID leaf 7, EDX bit 22; the compilers' names for it differ.
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__ __volatile__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  f.amx_bf16 = (d >> 22 & 1u) != 0;
#endif
  f.model_name = model_name();
  return f;
}

Isa parse(std::string_view name) {
  for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (name == to_string(isa)) return isa;
  }
  throw_argument("FOVEA_ISA", "expected one of baseline, avx2, avx512, got '{}'", name);
}

void check_available(Isa isa) {
  const std::vector<Isa> have = available_isas();
  check_argument(std::find(have.begin(), have.end(), isa) != have.end(), "set_isa",
                 "expected an instruction set that this processor has, got {}; the strongest here is {}",
                 to_string(isa), to_string(have.back()));
}

Isa initial() {
  const char* wanted = std::getenv("FOVEA_ISA");
  if (wanted == nullptr || *wanted == '\0') return available_isas().back();
  const Isa isa = parse(wanted);
  check_available(isa);
  return isa;
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{initial()};
  return isa;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

bool amx_permitted() {
#if defined(__x86_64__) && defined(__linux__)
  static const bool permitted = [] {
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
    return cpu_features().amx_bf16 && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return permitted;
#else
  return false;
#endif
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas{Isa::kBaseline};
  if (cpu_features().avx2_fma) isas.push_back(Isa::kAvx2);
  if (cpu_features().avx512) isas.push_back(Isa::kAvx512);
  return isas;
}

Isa current_isa() {
  return current().load(std::memory_order_relaxed);
}

void set_isa(Isa isa) {
  check_available(isa);
  current().store(isa);
}

const char* to_string(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

}  // namespace fovea
