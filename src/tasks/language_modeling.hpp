// The task "language-model": predict the next token of running text.
#pragma once

#include <memory>

#include "fovea/tasks/task.hpp"

namespace fovea::tasks {

std::unique_ptr<TaskReader> read_language_modeling(const formats::Recipe& recipe);

}  // namespace fovea::tasks
