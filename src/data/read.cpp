#include "fovea/data/read.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.hpp"
#include "data/csv.hpp"
#include "data/encoding.hpp"
#include "data/json_lines.hpp"
#include "data/table_builder.hpp"
#include "data/values.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::data {

namespace {

constexpr std::array<const char*, 4> kFormats{"csv", "jsonl", "lines", "document"};
constexpr std::array<const char*, 4> kEncodings{"utf-8", "utf-16le", "utf-16be", "latin-1"};
constexpr size_t kSampleBytes = 65536;
constexpr size_t kSampleRows = 100;

template <class Enum, class Names>
Enum from_name(const Names& names, std::string_view name, const char* what) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
  }
  throw_argument("data", "expected {} among {}, got \"{}\"", what, fmt::join(names, ", "), name);
}

FileFormat find_format(std::string_view text, std::string_view source) {
  std::string ending = std::filesystem::path(source).extension().string();
  for (char& c : ending) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (ending == ".csv" || ending == ".tsv" || ending == ".tab") return FileFormat::kCsv;
  if (ending == ".jsonl" || ending == ".ndjson" || ending == ".json") return FileFormat::kJsonLines;
  if (ending == ".txt") return FileFormat::kLines;
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{' ? FileFormat::kJsonLines : FileFormat::kCsv;
}

// The first bytes, cut after a whole line where there is one.
std::string_view sample_of(std::string_view text) {
  if (text.size() <= kSampleBytes) return text;
  const size_t end = text.rfind('\n', kSampleBytes);
  return text.substr(0, end == std::string_view::npos ? kSampleBytes : end + 1);
}

bool find_header(std::string_view text, char delimiter, Quoting quoting) {
  std::string sample(sample_of(text));
  CsvCursor cursor(sample.data(), sample.data() + sample.size(), delimiter, quoting,
                   static_cast<int64_t>(sample.size()), "");
  std::vector<std::vector<std::string_view>> rows;
  std::vector<std::string_view> cells;
  try {
    while (rows.size() <= kSampleRows && cursor.next(cells)) rows.push_back(cells);
  } catch (const DataError&) {
    // The sample may end within a quote, and what is wrong in the file is reported when it is read.
  }
  return first_row_is_header(rows);
}

std::vector<std::string> column_names(const std::vector<std::string_view>& first, const ReadOptions& options,
                                      const ReadReport& report, int64_t line) {
  const std::string place = fmt::format("{}:{}", report.source, line);
  std::vector<std::string> names;
  if (!options.names.empty()) {
    check_data(options.names.size() == first.size(), place, "expected {} columns as named, found {}",
               options.names.size(), first.size());
    names = options.names;
  } else if (report.header == Header::kPresent) {
    for (const std::string_view name : first) names.push_back(formats::replace_invalid_utf8(name));
  } else {
    for (size_t i = 0; i < first.size(); ++i) names.push_back(fmt::format("column_{}", i + 1));
  }
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    check_data(
        seen.insert(name).second, place,
        "expected different column names, found \"{}\" twice; rename one, or read the file without a header",
        name);
  }
  return names;
}

void read_csv(std::string& text, Table::Builder& builder, const ReadOptions& options, ReadReport& report) {
  const std::string ending = std::filesystem::path(report.source).extension().string();
  report.delimiter = options.delimiter ? *options.delimiter
                     : ending == ".tsv" || ending == ".tab"
                         ? '\t'
                         : find_delimiter(sample_of(text), options.quoting);
  const bool header = options.header ? *options.header == Header::kPresent
                                     : find_header(text, report.delimiter, options.quoting);
  report.header = header ? Header::kPresent : Header::kAbsent;
  CsvCursor cursor(text.data(), text.data() + text.size(), report.delimiter, options.quoting,
                   options.max_cell_bytes, report.source);
  std::vector<std::string_view> cells;
  size_t width = 0;
  while (cursor.next(cells)) {
    if (width == 0) {
      width = cells.size();
      builder.set_names(column_names(cells, options, report, cursor.line()));
      if (header) continue;
    }
    check_data(cells.size() == width, fmt::format("{}:{}", report.source, cursor.line()),
               "expected {} fields, found {}; quote fields that hold '{}' or a line break, or name another "
               "delimiter",
               width, cells.size(),
               report.delimiter == '\t' ? std::string("\\t") : std::string(1, report.delimiter));
    builder.add_row(cells, cursor.line());
  }
  report.blank_lines = cursor.blank_lines();
}

void read_lines(std::string_view text, Table::Builder& builder, const ReadOptions& options,
                ReadReport& report) {
  builder.set_names(options.names.empty() ? std::vector<std::string>{"text"} : options.names);
  check_argument(options.names.size() <= 1, "read_table", "expected one name for plain text, got {}",
                 options.names.size());
  if (report.format == FileFormat::kDocument) {
    builder.add_row({&text, 1}, 1);
    return;
  }
  int64_t line = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view row = text.substr(at, end - at);
    at = end + 1;
    ++line;
    if (row.ends_with('\r')) row.remove_suffix(1);
    if (row.empty()) {
      ++report.blank_lines;
      continue;
    }
    check_data(std::cmp_less_equal(row.size(), options.max_cell_bytes),
               fmt::format("{}:{}", report.source, line),
               "expected a line of at most {} bytes, found {}; break it up, raise the limit, or read the "
               "file as one "
               "document",
               options.max_cell_bytes, row.size());
    builder.add_row({&row, 1}, line);
  }
}

}  // namespace

const char* to_string(FileFormat format) {
  return kFormats[static_cast<size_t>(format)];
}
const char* to_string(TextEncoding encoding) {
  return kEncodings[static_cast<size_t>(encoding)];
}
FileFormat file_format(std::string_view name) {
  return from_name<FileFormat>(kFormats, name, "a file format");
}
TextEncoding text_encoding(std::string_view name) {
  return from_name<TextEncoding>(kEncodings, name, "a text encoding");
}

std::string ReadReport::to_text() const {
  std::string out = fmt::format("{}: {} rows, {}", source, rows, to_string(format));
  if (format == FileFormat::kCsv) {
    out += delimiter == '\t' ? std::string(" with tabs") : fmt::format(" with '{}'", delimiter);
    out += header == Header::kPresent ? ", header" : ", no header";
  }
  out += fmt::format(", {}{}", to_string(encoding), byte_order_mark ? " with byte-order mark" : "");
  if (blank_lines > 0) out += fmt::format(", {} blank lines skipped", blank_lines);
  if (replaced_lines > 0) out += fmt::format(", invalid bytes replaced on {} lines", replaced_lines);
  out += '\n';
  for (const ColumnReport& column : columns) {
    out += fmt::format("  {}: {}, {}{} different, {} empty\n", column.name, to_string(column.type),
                       column.distinct >= 10'000 ? "at least " : "", column.distinct, column.missing);
  }
  return out;
}

std::string ReadReport::to_json() const {
  nlohmann::ordered_json json{{"source", formats::replace_invalid_utf8(source)},
                              {"format", to_string(format)}};
  if (format == FileFormat::kCsv) {
    json["delimiter"] = std::string(1, delimiter);
    json["header"] = header == Header::kPresent;
  }
  json["encoding"] = to_string(encoding);
  json["byte_order_mark"] = byte_order_mark;
  json["rows"] = rows;
  json["blank_lines"] = blank_lines;
  json["replaced_lines"] = replaced_lines;
  json["columns"] = nlohmann::ordered_json::array();
  for (const ColumnReport& column : columns) {
    json["columns"].push_back({{"name", formats::replace_invalid_utf8(column.name)},
                               {"type", to_string(column.type)},
                               {"missing", column.missing},
                               {"distinct", column.distinct}});
  }
  return json.dump();
}

ReadResult parse_table(std::string bytes, std::string_view source, const ReadOptions& options) {
  if (options.delimiter) {
    const char d = *options.delimiter;
    check_argument(static_cast<unsigned char>(d) < 0x80 && d != '"' && d != '\n' && d != '\r', "read_table",
                   "expected a delimiter such as ',', ';', '|' or a tab, got another character");
  }
  ReadResult result;
  ReadReport& report = result.report;
  report.source = source;
  check_data(!bytes.empty(), source, "expected rows, found an empty file; was it written to the end?");
  auto text = std::make_shared<std::string>(decode_text(std::move(bytes), options, report));
  auto arena = std::make_shared<TextArena>();
  report.format = options.format ? *options.format : find_format(*text, source);

  Table::Builder builder{std::string(source)};
  switch (report.format) {
    case FileFormat::kCsv:
      read_csv(*text, builder, options, report);
      break;
    case FileFormat::kJsonLines:
      read_json_lines(*text, builder, *arena, options, report);
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
  check_data(report.rows > 0, source, "expected rows, found {}; add rows, or name another file",
             result.table.columns() > 0 ? "only a header" : "only blank lines");
  for (const auto& [name, type] : options.types) result.table.require_column(name);
  for (int64_t c = 0; c < result.table.columns(); ++c) {
    const std::string& name = result.table.names()[static_cast<size_t>(c)];
    report.columns.push_back(describe_column(name, result.table.column(c)));
    if (const auto found = options.types.find(name); found != options.types.end()) {
      report.columns.back().type = found->second;
    }
  }
  return result;
}

ReadResult read_table(const std::filesystem::path& path, const ReadOptions& options) {
  return parse_table(formats::read_file(path, options.max_file_bytes), path.string(), options);
}

}  // namespace fovea::data
