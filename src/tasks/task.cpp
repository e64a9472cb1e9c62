#include "fovea/tasks/task.hpp"

#include "tasks/text_classification.hpp"

namespace fovea::tasks {

const char* to_string(Split split) {
  return split == Split::kTrain ? "train" : split == Split::kValid ? "valid" : "test";
}

std::unique_ptr<TaskReader> read_task(const formats::Recipe& recipe) {
  recipe.required_text("task");
  recipe.choice("task", "text-classification", {"text-classification"});
  return read_text_classification(recipe);
}

}  // namespace fovea::tasks
