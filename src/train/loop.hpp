// The loop over steps, for kinds of models that an optimiser trains.
#pragma once

#include <filesystem>

#include "fovea/train/checkpoint.hpp"
#include "fovea/train/settings.hpp"
#include "fovea/train/train.hpp"

namespace fovea::train {

// Runs (or continues) until the last step, with the best weights in the task's parameters at the end.
// Files: folder/checkpoint/{last,best}.safetensors and folder/metrics.jsonl.
Progress run_loop(tasks::Task& task, const Settings& settings, const std::filesystem::path& folder,
                  const TrainOptions& options);

}  // namespace fovea::train
