#include "data/csv.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>

#include "base/check.hpp"
#include "data/values.hpp"

namespace fovea::data {

namespace {

std::string where(std::string_view source, int64_t line) {
  return fmt::format("{}:{}", source, line);
}

}  // namespace

void CsvCursor::check_size(int64_t bytes, int64_t line) const {
  check_data(
      bytes <= max_cell_bytes_, where(source_, line),
      "expected a cell of at most {} bytes, found {}; close the quote that opens it, or raise the limit",
      max_cell_bytes_, bytes);
}

void CsvCursor::end_line() {
  if (at_ < end_ && *at_ == '\r') ++at_;
  if (at_ < end_ && *at_ == '\n') ++at_;
  ++line_;
}

std::string_view CsvCursor::plain_cell() {
  char* begin = at_;
  while (at_ < end_ && *at_ != delimiter_ && *at_ != '\n' && *at_ != '\r') ++at_;
  // A carriage return belongs to the line's end only before a newline or where the old Macintosh form is
  // meant.
  check_size(at_ - begin, line_);
  return {begin, static_cast<size_t>(at_ - begin)};
}

std::string_view CsvCursor::quoted_cell() {
  const int64_t opened = line_;
  char* begin = ++at_;
  char* out = begin;
  while (true) {
    char* from = at_;
    while (at_ < end_ && *at_ != '"') {
      if (*at_ == '\n' || (*at_ == '\r' && (at_ + 1 == end_ || at_[1] != '\n'))) ++line_;
      ++at_;
    }
    if (out != from) std::copy(from, at_, out);
    out += at_ - from;
    if (out - begin > max_cell_bytes_) check_size(out - begin, opened);
    if (at_ == end_) {
      throw_data(where(source_, opened),
                 "expected the quote that opens a cell here to close, found the end of the file; "
                 "close it, double the quotes within, or read the file with quoting none");
    }
    ++at_;  // the quote
    if (at_ == end_ || *at_ != '"') break;
    *out++ = *at_++;
  }
  if (at_ < end_ && *at_ != delimiter_ && *at_ != '\n' && *at_ != '\r') {
    throw_data(where(source_, line_),
               "expected a delimiter after a closing quote, found '{}'; double the quotes within a "
               "quoted cell, or read the file with quoting none",
               std::string(1, *at_));
  }
  return {begin, static_cast<size_t>(out - begin)};
}

bool CsvCursor::next(std::vector<std::string_view>& cells) {
  cells.clear();
  while (at_ < end_ && (*at_ == '\n' || *at_ == '\r')) {
    ++blank_lines_;
    end_line();
  }
  if (at_ == end_) return false;
  row_line_ = line_;
  while (true) {
    const bool quoted = quoting_ == Quoting::kRfc4180 && at_ < end_ && *at_ == '"';
    cells.push_back(quoted ? quoted_cell() : plain_cell());
    if (at_ < end_ && *at_ == delimiter_) {
      ++at_;
      continue;
    }
    end_line();
    return true;
  }
}

char find_delimiter(std::string_view sample, Quoting quoting) {
  constexpr std::array<char, 4> kCandidates{',', '\t', ';', '|'};
  char best = ',';
  double best_score = 0.0;
  for (const char candidate : kCandidates) {
    std::string text(sample);  // reading folds quotes
    CsvCursor cursor(text.data(), text.data() + text.size(), candidate, quoting,
                     static_cast<int64_t>(text.size()), "");
    std::map<size_t, int64_t> counts;
    std::vector<std::string_view> cells;
    int64_t rows = 0;
    try {
      while (cursor.next(cells)) {
        ++counts[cells.size()];
        ++rows;
      }
    } catch (const DataError&) {
      // The sample may end within a quote; what came before it counts.
    }
    const auto most = std::max_element(counts.begin(), counts.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (rows == 0 || most->first < 2) continue;
    // The share of rows that agree; among equals the one that cuts finer.
    const double score = static_cast<double>(most->second) / static_cast<double>(rows) +
                         1e-3 * std::min(1.0, static_cast<double>(most->first) / 1000.0);
    if (score > best_score) {
      best_score = score;
      best = candidate;
    }
  }
  return best_score > 0.5 ? best : ',';
}

bool first_row_is_header(const std::vector<std::vector<std::string_view>>& rows) {
  if (rows.empty()) return false;
  const auto& first = rows[0];
  std::set<std::string_view> names;
  for (const std::string_view name : first) {
    if (name.empty() || name.size() > 64 || is_number(name) || !names.insert(name).second) return false;
  }
  for (size_t r = 1; r < rows.size(); ++r) {
    for (size_t c = 0; c < std::min(first.size(), rows[r].size()); ++c) {
      if (rows[r][c] == first[c]) return false;
    }
  }
  return true;
}

}  // namespace fovea::data
