// Reading tables from files: CSV and its relatives, JSON Lines, plain text. What the file does not say is
// found out, reported, and can be set.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/table.hpp"

namespace fovea::data {

enum class FileFormat {
  kCsv,
  kJsonLines,
  kLines,
  kDocument
};  // kLines: an example a line; kDocument: one example
enum class TextEncoding { kUtf8, kUtf16Little, kUtf16Big, kLatin1 };
enum class Header { kPresent, kAbsent };
enum class Quoting { kRfc4180, kNone };  // kNone: a quote is a character like any other

const char* to_string(FileFormat format);           // "csv", "jsonl", "lines", "document"
const char* to_string(TextEncoding encoding);       // "utf-8", "utf-16le", "utf-16be", "latin-1"
FileFormat file_format(std::string_view name);      // ArgumentError names them
TextEncoding text_encoding(std::string_view name);  // ArgumentError names them

struct ReadOptions {
  // Unset means: find out. The format by the name's ending (.csv .tsv .jsonl .ndjson .txt), else by the first
  // line.
  std::optional<FileFormat> format{};
  std::optional<char>
      delimiter{};  // else the one of , ; tab | that cuts the first lines into the most equal rows
  // Else present, unless the first row has an empty or repeated cell, a number, a cell of more than 64 bytes,
  // or one that the hundred rows below repeat in the same column.
  std::optional<Header> header{};
  Quoting quoting = Quoting::kRfc4180;
  // Else by the byte-order mark; without one UTF-8 when at least 99.9 % of the non-ASCII sequences are valid,
  // Latin-1 otherwise. Stray invalid bytes in UTF-8 are kept: check() counts them, tokenizers read them as
  // U+FFFD.
  std::optional<TextEncoding> encoding{};
  std::map<std::string, ColumnType> types{};  // by column; else by the values (see ColumnType)
  std::vector<std::string> names{};  // of the columns, for files without a header: else "column_1", …
  int64_t max_file_bytes = int64_t{1} << 34;
  // A cell larger than this is most often an unclosed quote that swallowed the file. A kDocument is one cell
  // as large as the file and is not bounded by it.
  int64_t max_cell_bytes = int64_t{4} << 20;
};

struct ColumnReport {
  std::string name;
  ColumnType type = ColumnType::kText;
  int64_t missing = 0;   // empty cells
  int64_t distinct = 0;  // different values, counted up to 10,000
};

// What was found, for people to see before they train on it.
struct ReadReport {
  std::string source;
  FileFormat format = FileFormat::kCsv;
  char delimiter = ',';  // kCsv only
  Header header = Header::kPresent;
  TextEncoding encoding = TextEncoding::kUtf8;
  bool byte_order_mark = false;
  int64_t rows = 0;
  int64_t blank_lines = 0;     // skipped
  int64_t replaced_lines = 0;  // kJsonLines: lines whose invalid UTF-8 became U+FFFD, which JSON cannot hold
  std::vector<ColumnReport> columns;

  // Lines such as "reviews.csv: 5,000 rows, csv with ',', header, utf-8".
  std::string to_text() const;
  std::string to_json() const;
};

struct ReadResult {
  Table table;
  ReadReport report;
};

// DataError "path:line: expected …, found …; what to do": missing, a directory, unreadable, empty or without
// a row, rows of different lengths, a quote that does not close, text after a closing quote, a line that is
// not a JSON object, a cell or file beyond its bound, a repeated column name. kLines and kDocument give one
// column, "text".
ReadResult read_table(const std::filesystem::path& path, const ReadOptions& options = {});
// The same from memory; `source` stands in messages and decides by its ending.
ReadResult parse_table(std::string bytes, std::string_view source, const ReadOptions& options = {});

}  // namespace fovea::data
