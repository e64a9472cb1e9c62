#include "fovea/attention/plan.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "attention/choose.hpp"
#include "attention/score.hpp"
#include "base/check.hpp"
#include "fovea/base/cpu.hpp"

namespace fovea {
namespace {

enum class Choice : uint8_t { kUsual, kAmxBf16, kAvx512Bf16, kSoftwareBf16, kSoftwareTiles, kFloat32 };

struct Named {
  const char* name;
  Choice choice;
};
// In order of preference.
constexpr std::array<Named, 5> kKernels{{{"amx_bf16", Choice::kAmxBf16},
                                         {"avx512_bf16", Choice::kAvx512Bf16},
                                         {"software_bf16", Choice::kSoftwareBf16},
                                         {"software_tiles", Choice::kSoftwareTiles},
                                         {"float32", Choice::kFloat32}}};

Choice parse(std::string_view name) {
  if (name.empty()) return Choice::kUsual;
  for (const Named& kernel : kKernels) {
    if (name == kernel.name) return kernel.choice;
  }
  throw_argument("FOVEA_ATTENTION_KERNEL",
                 "expected one of amx_bf16, avx512_bf16, software_bf16, software_tiles, float32, got '{}'",
                 name);
}

std::atomic<Choice>& wanted() {
  static std::atomic<Choice> choice{[] {
    const char* name = std::getenv("FOVEA_ATTENTION_KERNEL");
    return parse(name == nullptr ? "" : name);
  }()};
  return choice;
}

// Why products of bf16 pairs cannot serve a call; null: they can.
const char* decline_pairs(const AttentionShape& shape, const AttentionSpec& spec) {
  if (shape.dtype == DType::kF16) return "float16 has more digits than bf16";
  if (shape.dtype == DType::kF32 && spec.precision == Precision::kStrict)
    return "float32 inputs at strict precision";
  if (shape.dtype == DType::kF32 && spec.precision == Precision::kHigh)
    return "three bf16 products for each float32 product take longer than one float32 product without AMX";
  if (spec.top_k > 0) return "the k strongest keys are chosen and computed in float32";
  if (!reads_as_given(spec.score)) return "the rows that this score makes of q and k are float32";
  if (shape.width == 0 || shape.value_width == 0) return "rows without a number have no pairs";
  if (shape.overrides) return "overridden heads are computed in float32";
  if (shape.head_scales) return "one scale for all heads only";
  return nullptr;
}

// Why a kernel declines; null: it serves.
const char* decline(Choice kernel, const AttentionShape& shape, const AttentionSpec& spec) {
  const Choice asked = wanted().load(std::memory_order_relaxed);
  if (kernel == Choice::kFloat32) return nullptr;
  const bool software = kernel == Choice::kSoftwareBf16 || kernel == Choice::kSoftwareTiles;
  if (software && shape.backward && kernels::pair_kernels(kernels::PairEngine::kSoftware).lanes < 2) {
    return "vectors of one number hold no pairs of queries";
  }
  if (software && asked != kernel) return "for tests, when asked for by name";
  if (asked != Choice::kUsual && asked != kernel) return "another kernel is asked for by name";
  if (kernel == Choice::kAmxBf16) {
    if (!cpu_features().amx_bf16) return "this processor has no AMX-BF16";
    if (!amx_permitted()) return "the system does not grant AMX tile registers";
  }
  if (kernel == Choice::kAvx512Bf16) {
    if (!cpu_features().avx512_bf16) return "this processor has no AVX-512-BF16";
  }
  if (!software && current_isa() != Isa::kAvx512) return "the instruction set in use is not avx512";
  return decline_pairs(shape, spec);
}

std::string what_serves(Choice kernel, const AttentionShape& shape, const AttentionSpec& spec) {
  if (kernel != Choice::kFloat32) {
    return shape.biases ? "products of bf16 pairs, sums, biases and masks in float32"
                        : "products of bf16 pairs, sums in float32";
  }
  std::string what = std::string("multiply-adds of ") + to_string(current_isa());
  if (shape.dtype != DType::kF32) what += " on inputs widened to float32";
  if (spec.top_k > 0) what += fmt::format(" choose at most {} keys a query, computed one by one", spec.top_k);
  return what;
}

}  // namespace

std::vector<PlannedKernel> attention_plan(const AttentionShape& shape, const AttentionSpec& spec) {
  check_argument(shape.dtype == DType::kF32 || shape.dtype == DType::kBF16 || shape.dtype == DType::kF16,
                 "attention_plan", "expected float32, bfloat16 or float16, got {}", to_string(shape.dtype));
  std::vector<PlannedKernel> plan;
  for (const Named& kernel : kKernels) {
    const char* reason = decline(kernel.choice, shape, spec);
    plan.push_back({kernel.name, reason == nullptr,
                    reason == nullptr ? what_serves(kernel.choice, shape, spec) : reason});
  }
  return plan;
}

const kernels::PairKernels* choose_pairs(const AttentionShape& shape, const AttentionSpec& spec) {
  for (const Named& kernel : kKernels) {
    if (decline(kernel.choice, shape, spec) != nullptr) continue;
    if (kernel.choice == Choice::kAvx512Bf16)
      return &kernels::pair_kernels(kernels::PairEngine::kInstruction);
    if (kernel.choice == Choice::kSoftwareBf16) return &kernels::pair_kernels(kernels::PairEngine::kSoftware);
    return nullptr;
  }
  return nullptr;
}

void set_attention_kernel(std::string_view name) {
  wanted().store(parse(name));
}

std::string_view current_attention_kernel() {
  const Choice asked = wanted().load();
  for (const Named& kernel : kKernels) {
    if (kernel.choice == asked) return kernel.name;
  }
  return "";
}

}  // namespace fovea
