#include "fovea/tasks/task.hpp"

#include "tasks/language_modeling.hpp"
#include "tasks/text_classification.hpp"

namespace fovea::tasks {

const char* to_string(Split split) {
  return split == Split::kTrain ? "train" : split == Split::kValid ? "valid" : "test";
}

std::unique_ptr<TaskReader> read_task(const formats::Recipe& recipe) {
  recipe.required_text("task");
  const auto task = recipe.choice("task", "text-classification", {"text-classification", "language-model"});
  if (task == "language-model") return read_language_modeling(recipe);
  return read_text_classification(recipe);
}

}  // namespace fovea::tasks
