#include "tasks/read_keys.hpp"

#include <string>

namespace fovea::tasks {

void read_option_keys(const formats::Recipe& recipe, std::initializer_list<std::string_view> names,
                      data::ReadOptions& options) {
  for (const std::string_view name : names) {
    const std::string key = "data." + std::string(name);
    const std::string value = recipe.text(key, name == "quoting" ? "rfc4180" : "auto");
    const std::string wrong = data::set_read_option(options, name, value);
    if (!wrong.empty()) recipe.fail(key, wrong);
  }
}

}  // namespace fovea::tasks
