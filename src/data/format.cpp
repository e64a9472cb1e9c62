#include "data/format.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/csv_table.hpp"

namespace fovea::data {

namespace {

constexpr size_t kLongestFirstLine = size_t{1} << 20;

// A table that begins with a bracket is JSON Lines, whole or not: its reader says what is wrong with it. A
// text may begin with a bracket.
bool begins_with_object(std::string_view text, Purpose purpose) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return false;
  if (purpose == Purpose::kTable) return true;
  const std::string_view line = text.substr(first, std::min(text.find('\n', first), text.size()) - first);
  // A first line too long to be tried is taken at its bracket.
  return line.size() > kLongestFirstLine || nlohmann::json::accept(line.begin(), line.end());
}

}  // namespace

FileFormat find_format(std::string_view text, std::string_view source, const ReadOptions& options) {
  if (options.format) return *options.format;
  std::string ending = std::filesystem::path(source).extension().string();
  for (char& c : ending) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (ending == ".csv" || ending == ".tsv" || ending == ".tab") return FileFormat::kCsv;
  if (ending == ".jsonl" || ending == ".ndjson" || ending == ".json") return FileFormat::kJsonLines;
  const bool table_asked = options.delimiter || options.header == Header::kPresent;
  const bool table = options.purpose == Purpose::kTable;
  if (ending == ".txt" && !table_asked && !(table && first_line_has_wanted(text, options))) {
    return FileFormat::kLines;
  }
  if (begins_with_object(text, options.purpose)) return FileFormat::kJsonLines;
  if (table || table_asked) return FileFormat::kCsv;
  return first_line_has_wanted(text, options) ? FileFormat::kCsv : FileFormat::kLines;
}

}  // namespace fovea::data
