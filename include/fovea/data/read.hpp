// Reading tables from files: CSV and its relatives, JSON Lines, plain text. What the file does not say is
// found out, reported, and can be set.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/read_options.hpp"
#include "fovea/data/table.hpp"

namespace fovea::data {

// What one column of a table holds.
struct ColumnReport {
  std::string name;                     // as Table::names() has it
  ColumnType type = ColumnType::kText;  // set by ReadOptions::types, else found by the values
  int64_t missing = 0;                  // empty cells
  int64_t distinct = 0;                 // different values, counted up to 10,000
};

// What was found, for people to see before they train on it.
struct ReadReport {
  std::string source;                           // the file, as it was named
  FileFormat format = FileFormat::kCsv;         // what it was read as
  char delimiter = ',';                         // kCsv only
  Header header = Header::kPresent;             // kCsv only
  TextEncoding encoding = TextEncoding::kUtf8;  // never kUtf16, which is a wish
  bool byte_order_mark = false;                 // whether the file began with one
  int64_t rows = 0;                             // of the table, without the header
  // Skipped, except that in plain text a line is a row, and a blank one an empty text.
  int64_t blank_lines = 0;
  int64_t replaced = 0;       // bytes that mean nothing in the encoding and became U+FFFD
  int64_t replaced_line = 0;  // where the first of them stands
  // What a person should know of the header: an index column, names that were made up or repeated.
  std::vector<std::string> notes;
  std::vector<ColumnReport> columns;  // in the order of the table; of running text and of records none

  // Lines such as "reviews.csv: 5000 rows, csv with ',', header, utf-8".
  std::string to_text() const;
  // The same as one object, with the names of the fields above.
  std::string to_json() const;
};

// A table and how it was read.
struct ReadResult {
  Table table;        // the rows, their cells valid UTF-8
  ReadReport report;  // what was found out on the way
};

// Gives bytes in order: at most out.size() of them into `out`, and how many; 0 at the end. May wait, may
// throw.
using ByteSource = std::function<size_t(std::span<char> out)>;

// DataError "path:line: expected …, found …; what to do": missing, a directory, unreadable, no text
// (compressed, a spreadsheet, zeros), empty or without a row, rows of different lengths, a quote that does
// not close, text after a closing quote, a line that is not a JSON object, a cell, file or table beyond its
// bound. kLines and kDocument give one column, "text". Columns without a name are called column_N by their
// place, a name that stands twice is name_2 where it stands again; the report's notes say so.
ReadResult read_table(const std::filesystem::path& path, const ReadOptions& options = {});
// The same from bytes as they come; `name` stands in messages and decides by its ending.
ReadResult read_table(const ByteSource& source, std::string_view name, const ReadOptions& options = {});
// The same from memory.
ReadResult parse_table(std::string bytes, std::string_view name, const ReadOptions& options = {});

// Running text: the whole file as one text of valid UTF-8, decoded as a table's is.
struct ReadText {
  std::string text;   // may be empty
  ReadReport report;  // of format kDocument, without rows and columns
};
// Reads a file, or bytes as they come (`name` stands in messages), whole. DataError: missing, a directory,
// unreadable, no text, or beyond the bound of options.
ReadText read_text(const std::filesystem::path& path, const ReadOptions& options = {});
ReadText read_text(const ByteSource& source, std::string_view name, const ReadOptions& options = {});

}  // namespace fovea::data
