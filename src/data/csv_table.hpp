// A whole CSV text as a table. Internal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "data/table_builder.hpp"
#include "fovea/data/read.hpp"

namespace fovea::data {

// The delimiter of a table: as asked for, as a line "sep=;" says (taken off `text`), by the ending .tsv, by
// the text's first lines, in this order.
char choose_delimiter(std::string_view& text, const ReadOptions& options, std::string_view source);

// What the columns are called, with report.header set and notes added. `first` is the table's first row.
std::vector<std::string> choose_names(const std::vector<std::string_view>& first, bool header,
                                      bool lacks_index, const ReadOptions& options, ReadReport& report,
                                      std::string_view place, int64_t& index);

// "; the first row was taken for the header: …", for the message about a column that is not there.
std::string header_note(const ReadReport& report, const ReadOptions& options);

// DataError at `place` for a row of another width than the first.
void check_width(size_t found, size_t expected, char delimiter, std::string_view place);

// Reads all rows in place: cells point into `text`. Fills report.delimiter, header, blank_lines and notes.
void read_csv(std::string& text, Table::Builder& builder, const ReadOptions& options, ReadReport& report);

// Whether the first line, cut at some delimiter, has one of the wanted columns: then texts stand in a table.
bool first_line_has_wanted(std::string_view text, const ReadOptions& options);

}  // namespace fovea::data
