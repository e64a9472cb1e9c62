// What kind of file a text is. Internal.
#pragma once

#include <string_view>

#include "fovea/data/read_options.hpp"

namespace fovea::data {

// As ReadOptions::format says; `text` may be no more than the beginning.
FileFormat find_format(std::string_view text, std::string_view source, const ReadOptions& options);

}  // namespace fovea::data
