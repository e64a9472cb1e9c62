// The data keys of a recipe that say how files are read. Internal.
#pragma once

#include <initializer_list>
#include <string_view>

#include "fovea/data/read_options.hpp"
#include "fovea/formats/recipe.hpp"

namespace fovea::tasks {

// Sets the options of these names (see data::read_option_names) from data.<name>. DataError names the key and
// what it may be.
void read_option_keys(const formats::Recipe& recipe, std::initializer_list<std::string_view> names,
                      data::ReadOptions& options);

}  // namespace fovea::tasks
