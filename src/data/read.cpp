#include "fovea/data/read.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "data/csv_table.hpp"
#include "data/encoding.hpp"
#include "data/format.hpp"
#include "data/input_bytes.hpp"
#include "data/json_lines.hpp"
#include "data/table_builder.hpp"
#include "data/text_lines.hpp"
#include "data/values.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {

// A view and a line number take 24 bytes; a vector that grows holds up to three times its cells.
constexpr int64_t kMemoryOfCell = 64;

void read_lines(std::string_view text, Table::Builder& builder, const ReadOptions& options,
                ReadReport& report) {
  builder.set_names(options.names.empty() ? std::vector<std::string>{"text"} : options.names);
  check_argument(options.names.size() <= 1, "read_table", "expected one name for plain text, got {}",
                 options.names.size());
  builder.set_note("; the file was read as plain text: for a table say --format csv or jsonl (data.format)");
  if (report.format == FileFormat::kDocument) {
    builder.add_row({&text, 1}, 1);
    return;
  }
  LineCursor cursor(text);
  for (std::string_view row; cursor.next(row);) {
    if (is_blank(row)) ++report.blank_lines;
    if (std::cmp_greater(row.size(), options.max_cell_bytes)) {
      throw_data(
          fmt::format("{}:{}", formats::printable(report.source), cursor.line()),
          "expected a line of at most {} bytes, found {}; break it up, or read the file as one document "
          "(--format document)",
          options.max_cell_bytes, row.size());
    }
    builder.add_row({&row, 1}, cursor.line());
  }
}

void check_options(const ReadOptions& options) {
  if (!options.delimiter) return;
  const char d = *options.delimiter;
  check_argument(static_cast<unsigned char>(d) < 0x80 && d != '"' && d != '\n' && d != '\r', "read_table",
                 "expected a delimiter such as ',', ';', '|' or a tab, got another character");
}

ReadText decode(std::string bytes, std::string_view name, const ReadOptions& options) {
  ReadText result;
  result.report.source = name;
  result.report.format = FileFormat::kDocument;
  result.text = decode_text(std::move(bytes), options, result.report);
  return result;
}

}  // namespace

ReadResult parse_table(std::string bytes, std::string_view name, const ReadOptions& options) {
  check_options(options);
  ReadResult result;
  ReadReport& report = result.report;
  report.source = name;
  const std::string place = formats::printable(name);
  check_data(!bytes.empty(), place, "expected rows, found an empty file; was it written to the end?");
  auto text = std::make_shared<std::string>(decode_text(std::move(bytes), options, report));
  auto arena = std::make_shared<TextArena>();
  report.format = find_format(*text, name, options);

  Table::Builder builder{std::string(name)};
  builder.set_bound(memory_for_process() / kMemoryOfCell);
  switch (report.format) {
    case FileFormat::kCsv:
      read_csv(*text, builder, options, report);
      break;
    case FileFormat::kJsonLines:
      read_json_lines(*text, 1, builder, *arena, options, report);
      break;
    case FileFormat::kLines:
    case FileFormat::kDocument:
      read_lines(*text, builder, options, report);
      break;
  }
  if (report.format == FileFormat::kJsonLines) {
    builder.keep_alive(std::move(arena));
  } else {
    builder.keep_alive(std::move(text));
  }
  result.table = builder.finish();
  report.rows = result.table.rows();
  check_data(report.rows > 0, place, "expected rows, found {}; add rows, or name another file",
             result.table.columns() > 0 ? "only a header" : "only blank lines");
  for (const auto& [column, type] : options.types) result.table.require_column(column);
  for (int64_t c = 0; c < result.table.columns(); ++c) {
    const std::string& column = result.table.names()[static_cast<size_t>(c)];
    report.columns.push_back(describe_column(column, result.table.column(c)));
    if (const auto found = options.types.find(column); found != options.types.end()) {
      report.columns.back().type = found->second;
    }
  }
  return result;
}

ReadResult read_table(const std::filesystem::path& path, const ReadOptions& options) {
  formats::InputStream file(path);
  return parse_table(read_bytes(file, options), path.string(), options);
}

ReadResult read_table(const ByteSource& source, std::string_view name, const ReadOptions& options) {
  return parse_table(read_bytes(source, name, options), name, options);
}

ReadText read_text(const std::filesystem::path& path, const ReadOptions& options) {
  formats::InputStream file(path);
  return decode(read_bytes(file, options), path.string(), options);
}

ReadText read_text(const ByteSource& source, std::string_view name, const ReadOptions& options) {
  return decode(read_bytes(source, name, options), name, options);
}

}  // namespace fovea::data
