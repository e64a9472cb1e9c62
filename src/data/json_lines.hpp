// JSON Lines: one object a line, read without building a tree. Internal.
#pragma once

#include <string>
#include <string_view>

#include "data/table_builder.hpp"
#include "fovea/data/read.hpp"

namespace fovea::data {

// Adds a row for each line of `text`: text as it is, numbers as written, true and false as such, null and an
// absent key as an empty cell, lists and objects as compact JSON. Columns stand in order of first appearance.
// `text` is valid UTF-8 and begins on line `first_line` of its file.
void read_json_lines(std::string_view text, int64_t first_line, Table::Builder& builder, TextArena& arena,
                     const ReadOptions& options, ReadReport& report);

}  // namespace fovea::data
