// Scores of predicted class probabilities, in the order they are printed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fovea/tasks/task.hpp"

namespace fovea::tasks {

// accuracy, macro_f1, log_loss, calibration_error of truth [N] and probabilities [N, classes]; the score is
// the accuracy, less a hundredth of the log loss, so that among equal accuracies the more certain weights are
// kept.
Evaluation evaluate_classes(std::vector<int32_t> truth, std::vector<float> probabilities,
                            std::vector<std::string> classes);

}  // namespace fovea::tasks
