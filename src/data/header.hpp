// Whether the first row of a table names its columns, and what those are called (docs/formats/tables.md).
// Internal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/read_options.hpp"

namespace fovea::data {

struct FirstRow {
  bool header = false;
  // R's write.table: every other row has a field more, the first of which is the row's name.
  bool lacks_index = false;
};

// `rows` are the first of the table, the one in question and at most a hundred below it.
FirstRow judge_first_row(const std::vector<std::vector<std::string_view>>& rows,
                         const std::vector<std::string>& wanted, Purpose purpose);

// Whether a row has one of the wanted names, spaces around its cells aside.
bool has_wanted(const std::vector<std::string_view>& row, const std::vector<std::string>& wanted);

struct ColumnNames {
  std::vector<std::string> names;  // all different, none empty
  int64_t index = -1;              // the column that only counts rows: first, and without a name
  std::vector<std::string> notes;  // what was made up, for people
};
ColumnNames header_names(const std::vector<std::string_view>& header);
// "column_1", …
ColumnNames numbered_names(size_t columns);

}  // namespace fovea::data
