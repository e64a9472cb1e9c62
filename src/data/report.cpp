// What a ReadReport says, to people and to programs.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fovea/data/read.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::data {

namespace {
constexpr size_t kShownColumns = 10;
constexpr size_t kNameCharacters = 60;
}  // namespace

std::string ReadReport::to_text() const {
  const bool running = format == FileFormat::kDocument;
  std::string out = formats::printable(source) + ": ";
  out += running ? "text" : fmt::format("{} rows, {}", rows, to_string(format));
  if (format == FileFormat::kCsv) {
    out += delimiter == '\t'  ? std::string(" with tabs")
           : delimiter == ' ' ? std::string(" with spaces")
                              : fmt::format(" with '{}'", formats::printable(std::string(1, delimiter)));
    out += header == Header::kPresent ? ", header" : ", no header";
  }
  out += fmt::format(", {}{}", to_string(encoding), byte_order_mark ? " with byte-order mark" : "");
  if (blank_lines > 0) {
    out += fmt::format(", {} blank lines {}", blank_lines,
                       format == FileFormat::kLines ? "taken as empty texts" : "skipped");
  }
  if (replaced > 0) {
    out += fmt::format(", {} bytes that are no {} replaced by U+FFFD, the first on line {}", replaced,
                       to_string(encoding), replaced_line);
  }
  out += '\n';
  for (const std::string& note : notes) out += fmt::format("  {}\n", note);
  for (const ColumnReport& column : std::span(columns).first(std::min(columns.size(), kShownColumns))) {
    out += fmt::format("  {}: {}, {}{} different, {} empty\n",
                       formats::printable(column.name, kNameCharacters), to_string(column.type),
                       column.distinct >= 10'000 ? "at least " : "", column.distinct, column.missing);
  }
  if (columns.size() > kShownColumns) out += fmt::format("  … and {} more\n", columns.size() - kShownColumns);
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
  json["replaced"] = replaced;
  if (replaced > 0) json["replaced_line"] = replaced_line;
  json["notes"] = notes;
  json["columns"] = nlohmann::ordered_json::array();
  for (const ColumnReport& column : columns) {
    json["columns"].push_back({{"name", formats::replace_invalid_utf8(column.name)},
                               {"type", to_string(column.type)},
                               {"missing", column.missing},
                               {"distinct", column.distinct}});
  }
  return json.dump();
}

}  // namespace fovea::data
