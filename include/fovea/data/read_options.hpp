// How tables and texts are to be read: the options, and the names under which the command line (--header no)
// and recipes (data.header = "no") set them. What is not set is found out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/table.hpp"

namespace fovea::data {

// How a file holds rows.
enum class FileFormat {
  kCsv,        // cells between delimiters, whichever they are
  kJsonLines,  // an object a line
  kLines,      // plain text, an example a line
  kDocument    // plain text, the whole file one example
};
// kUtf16 is a wish only, for either byte order: the mark decides, else the text itself.
enum class TextEncoding { kUtf8, kUtf16Little, kUtf16Big, kLatin1, kWindows1252, kUtf16 };
// Whether the first row names the columns (CSV).
enum class Header { kPresent, kAbsent };
// kRfc4180: "a ""b"", c" is one cell. kNone: a quote is a character like any other.
enum class Quoting { kRfc4180, kNone };
// What the rows are for. kTable: rows and columns, for training. kTexts: texts to be read by a model, so that
// a file that does not show itself to be a table is plain text, a text a line.
enum class Purpose { kTable, kTexts };

const char* to_string(FileFormat format);           // "csv", "jsonl", "lines", "document"
const char* to_string(TextEncoding encoding);       // "utf-8", "utf-16le", …, "cp1252"
FileFormat file_format(std::string_view name);      // ArgumentError names them
TextEncoding text_encoding(std::string_view name);  // ArgumentError names them

// What is known of a file before it is read; docs/formats/tables.md says how the rest is found.
struct ReadOptions {
  // Unset means: find out. The format by the name's ending (.csv .tsv .tab .jsonl .ndjson .json .txt); else
  // JSON Lines when the first line is a JSON object. Else, for a table, CSV; for texts, CSV when a delimiter
  // or a header is given here or the first line, cut at a delimiter, has one of the `wanted` columns, and
  // lines otherwise.
  std::optional<FileFormat> format{};
  // Else what a first line "sep=;" says, as spreadsheets write it; else the one of , ; tab | that cuts the
  // first lines into the most equal rows.
  std::optional<char> delimiter{};
  // Else by the first row and the hundred below it (docs/formats/tables.md has the rule): present when it has
  // one of the `wanted` columns.
  std::optional<Header> header{};
  // Never found out: quotes that are text look like quotes that are not.
  Quoting quoting = Quoting::kRfc4180;
  // Else by the byte-order mark, by the zero bytes of UTF-16, or by the share of valid sequences: UTF-8 when
  // they are at least as many as invalid ones, Windows-1252 otherwise. What has no meaning in the encoding
  // becomes U+FFFD and is counted.
  std::optional<TextEncoding> encoding{};
  // What the rows are for, where that decides what a file is taken to be.
  Purpose purpose = Purpose::kTable;
  std::vector<std::string> wanted{};  // columns that will be asked for: a row that has one is the header
  std::map<std::string, ColumnType> types{};  // by column; else by the values (see ColumnType)
  std::vector<std::string> names{};  // of the columns, for files without a header: else "column_1", …
  // Bounds, so that no input exhausts the memory. A file is also bounded by a quarter of the memory that this
  // process may have, a table by a cell for every 64 bytes of it.
  int64_t max_file_bytes = int64_t{1} << 34;
  // A cell larger than this is most often an unclosed quote that swallowed the file. A kDocument is one cell
  // as large as the file and is not bounded by it.
  int64_t max_cell_bytes = int64_t{4} << 20;
};

// One option as people set it.
struct ReadOptionHelp {
  const char* name;         // "header"
  const char* values;       // "auto, yes or no"
  const char* description;  // "Whether the first row names the columns"
};
// format, delimiter, header, quoting, encoding.
std::span<const ReadOptionHelp> read_option_names();

// Sets the option by its name and value; "auto" unsets it. Empty when it was taken, else what is wrong with
// the value: `expected auto, yes or no, found "maybe"`. ArgumentError for a name that is none of the above.
std::string set_read_option(ReadOptions& options, std::string_view name, std::string_view value);

}  // namespace fovea::data
