#include "fovea/tasks/task.hpp"

#include <array>

#include "fovea/formats/utf8.hpp"
#include "tasks/language_modeling.hpp"
#include "tasks/text_classification.hpp"
#include "tasks/text_rows.hpp"

namespace fovea::tasks {

const char* to_string(Split split) {
  return split == Split::kTrain ? "train" : split == Split::kValid ? "valid" : "test";
}

std::span<const char* const> data_file_keys() {
  static constexpr std::array<const char*, 4> kKeys = {"data.file", "data.train", "data.valid", "data.test"};
  return kKeys;
}

formats::Recipe with_absolute_paths(const formats::Recipe& recipe) {
  formats::Recipe result = recipe;
  for (const char* key : data_file_keys()) {
    const std::string given = recipe.text(key, "");
    if (given.empty()) continue;
    std::error_code error;
    const auto plain = std::filesystem::absolute(find_file(given, recipe.folder().string()), error);
    if (error) continue;
    // "a/../b" is b unless a is a link to elsewhere.
    const auto short_form = plain.lexically_normal();
    const std::string path =
        (std::filesystem::equivalent(plain, short_form, error) && !error ? short_form : plain).string();
    // TOML holds UTF-8 only: a path of other bytes stays as it was given.
    if (formats::find_invalid_utf8(path) < 0) result.set(key, path);
  }
  return result;
}

std::unique_ptr<TaskReader> read_task(const formats::Recipe& recipe) {
  recipe.required_text("task");
  const auto task = recipe.choice("task", "text-classification", {"text-classification", "language-model"});
  if (task == "language-model") return read_language_modeling(recipe);
  return read_text_classification(recipe);
}

}  // namespace fovea::tasks
