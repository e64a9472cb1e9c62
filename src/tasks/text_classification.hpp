// The task "text-classification": one text in, one of the classes out.
#pragma once

#include <memory>

#include "fovea/tasks/task.hpp"

namespace fovea::tasks {

std::unique_ptr<TaskReader> read_text_classification(const formats::Recipe& recipe);

}  // namespace fovea::tasks
