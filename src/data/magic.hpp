// Files that are no text, known by their first bytes. Internal.
#pragma once

#include <optional>
#include <string_view>

#include "fovea/data/read_options.hpp"

namespace fovea::data {

// DataError that names what `bytes`, the beginning of a file, are and what to do: compressed files,
// spreadsheets, columnar formats, databases, pictures, UTF-32, zeros that are not those of UTF-16.
void check_is_text(std::string_view bytes, std::string_view source, std::optional<TextEncoding> asked);

}  // namespace fovea::data
