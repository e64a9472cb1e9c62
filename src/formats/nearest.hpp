// The name a person probably meant. Internal.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace fovea::formats {

// The candidate of least edit distance (insert, delete, replace, swap of neighbours: one each), the first of
// equals; empty when every one is farther than a third of the name's length, or two, whichever is more.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

// "; did you mean "x"?", or nothing.
std::string suggestion(std::string_view name, std::span<const std::string> candidates);

}  // namespace fovea::formats
