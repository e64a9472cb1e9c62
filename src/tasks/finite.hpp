// Models that hold numbers that are not finite (a training that diverged, a damaged file) are refused by
// their folder's name, before a reader sees "nan %". Internal to tasks and explain.
#pragma once

#include <filesystem>
#include <span>

#include "fovea/formats/safetensors.hpp"

namespace fovea::tasks {

// DataError that names folder, tensor and place of the first float32 weight that is not finite.
void check_finite_weights(const formats::SafeTensors& weights, const std::filesystem::path& folder);

// DataError that names the folder when a score that the model gave is not finite. A model without a folder is
// in training, where the score must lose and not throw: nothing is checked.
void check_finite_scores(std::span<const float> scores, const std::filesystem::path& folder);

}  // namespace fovea::tasks
