#include "fovea/data/stats.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/check.hpp"
#include "data/values.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/formats/utf8.hpp"
#include "fovea/formats/words.hpp"

namespace fovea::data {

namespace {

constexpr size_t kTop = 10;

std::optional<Distribution> distribution(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  const auto at = [&](double p) { return values[static_cast<size_t>(std::llround(p * (count - 1.0)))]; };
  double sum = 0.0;
  for (const double value : values) sum += value;
  const double mean = sum / count;
  double squares = 0.0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return Distribution{values.front(), at(0.5), at(0.95),
                      values.back(),  mean,    values.size() > 1 ? std::sqrt(squares / (count - 1.0)) : 0.0};
}

double characters_in(std::string_view text) {
  double count = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(text.size()); i += formats::decode_utf8(text, i).length)
    ++count;
  return count;
}

double words_in(std::string_view text) {
  double count = 0;
  formats::for_each_word(text, [&](formats::Span) { ++count; });
  return count;
}

std::vector<ValueCount> most_frequent(std::span<const std::string_view> cells, int64_t& distinct) {
  std::unordered_map<std::string_view, int64_t> counts;
  for (const std::string_view cell : cells) {
    if (!cell.empty()) ++counts[cell];
  }
  distinct = static_cast<int64_t>(counts.size());
  std::vector<std::pair<int64_t, std::string_view>> order;
  order.reserve(counts.size());
  for (const auto& [value, count] : counts) order.emplace_back(-count, value);
  const size_t kept = std::min(kTop, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(kept), order.end());
  std::vector<ValueCount> top;
  for (size_t i = 0; i < kept; ++i)
    top.push_back({formats::replace_invalid_utf8(order[i].second), -order[i].first});
  return top;
}

ColumnStats column_stats(const ColumnReport& report, std::span<const std::string_view> cells) {
  ColumnStats stats;
  stats.name = report.name;
  stats.type = report.type;
  stats.missing = report.missing;
  stats.top = most_frequent(cells, stats.distinct);
  std::vector<double> numbers;
  std::vector<double> characters;
  std::vector<double> words;
  for (const std::string_view cell : cells) {
    if (cell.empty()) continue;
    if (report.type == ColumnType::kNumber || report.type == ColumnType::kInteger) {
      const double value = parse_number(cell);
      if (!std::isnan(value)) numbers.push_back(value);
    } else if (report.type == ColumnType::kText) {
      characters.push_back(characters_in(cell));
      words.push_back(words_in(cell));
    }
  }
  stats.numbers = distribution(std::move(numbers));
  stats.characters = distribution(std::move(characters));
  stats.words = distribution(std::move(words));
  return stats;
}

std::string line(const char* name, const Distribution& d) {
  return fmt::format("    {}: {:.6g} to {:.6g}, median {:.6g}, 95 % below {:.6g}, mean {:.6g} ± {:.6g}\n",
                     name, d.least, d.most, d.median, d.p95, d.mean, d.deviation);
}

nlohmann::ordered_json to_json_object(const Distribution& d) {
  return {{"least", d.least}, {"median", d.median}, {"p95", d.p95},
          {"most", d.most},   {"mean", d.mean},     {"deviation", d.deviation}};
}

}  // namespace

TableStats stats(const ReadResult& read) {
  TableStats result;
  result.source = read.report.source;
  result.rows = read.table.rows();
  for (int64_t c = 0; c < read.table.columns(); ++c) {
    result.columns.push_back(column_stats(read.report.columns[static_cast<size_t>(c)], read.table.column(c)));
  }
  return result;
}

std::string TableStats::to_text() const {
  std::string out =
      fmt::format("{}: {} rows, {} columns\n", formats::printable(source), rows, columns.size());
  for (const ColumnStats& column : columns) {
    out += fmt::format("  {}: {}, {} different, {} empty\n", formats::printable(column.name),
                       to_string(column.type), column.distinct, column.missing);
    if (column.numbers) out += line("values", *column.numbers);
    if (column.characters) out += line("characters", *column.characters);
    if (column.words) out += line("words", *column.words);
    if (column.type != ColumnType::kCategory) continue;
    for (const ValueCount& value : column.top) {
      out += fmt::format("    {:6.2f} %  {}\n",
                         100.0 * static_cast<double>(value.count) / static_cast<double>(rows),
                         formats::printable(value.value));
    }
  }
  return out;
}

std::string TableStats::to_json() const {
  using Json = nlohmann::ordered_json;
  Json json{{"source", formats::replace_invalid_utf8(source)}, {"rows", rows}, {"columns", Json::array()}};
  for (const ColumnStats& column : columns) {
    Json entry{{"name", formats::replace_invalid_utf8(column.name)},
               {"type", to_string(column.type)},
               {"missing", column.missing},
               {"distinct", column.distinct}};
    if (column.numbers) entry["numbers"] = to_json_object(*column.numbers);
    if (column.characters) entry["characters"] = to_json_object(*column.characters);
    if (column.words) entry["words"] = to_json_object(*column.words);
    entry["top"] = Json::array();
    for (const ValueCount& value : column.top)
      entry["top"].push_back({{"value", value.value}, {"count", value.count}});
    json["columns"].push_back(std::move(entry));
  }
  return json.dump();
}

}  // namespace fovea::data
