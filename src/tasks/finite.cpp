#include "tasks/finite.hpp"

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/check.hpp"

namespace fovea::tasks {
namespace {

constexpr const char* kAdvice =
    "copy the folder again, or train the model again with a lower train.learning_rate";

// Without a branch a number, so that the scan costs a pass over the memory.
bool all_finite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7F800000U;
  uint32_t bad = 0;
  for (const float v : values)
    bad |= static_cast<uint32_t>((std::bit_cast<uint32_t>(v) & kExponent) == kExponent);
  return bad == 0;
}

size_t first_not_finite(std::span<const float> values) {
  size_t i = 0;
  while (i < values.size() && std::isfinite(values[i])) ++i;
  return i;
}

}  // namespace

void check_finite_weights(const formats::SafeTensors& weights, const std::filesystem::path& folder) {
  for (const formats::NamedTensor& named : weights.tensors) {
    if (named.tensor.dtype() != DType::kF32) continue;
    const auto values = named.tensor.span<float>();
    if (all_finite(values)) continue;
    const size_t at = first_not_finite(values);
    throw_data(folder.string(),
               "expected finite weights, found {} as number {} of \"{}\" in model.safetensors; {}",
               values[at], at, named.name, kAdvice);
  }
}

void check_finite_scores(std::span<const float> scores, const std::filesystem::path& folder) {
  if (folder.empty() || all_finite(scores)) return;
  throw_data(folder.string(), "expected finite scores from the model, found {}; {}",
             scores[first_not_finite(scores)], kAdvice);
}

}  // namespace fovea::tasks
