#include "data/csv.hpp"

#include <algorithm>
#include <map>
#include <string>

#include "base/check.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::data {

namespace {

std::string where(std::string_view source, int64_t line) {
  return fmt::format("{}:{}", formats::printable(source), line);
}

std::string_view first_character(std::string_view text) {
  return text.substr(0, static_cast<size_t>(formats::decode_utf8(text, 0).length));
}

}  // namespace

void CsvCursor::check_size(int64_t bytes, int64_t line) const {
  check_data(
      bytes <= max_cell_bytes_, where(source_, line),
      "expected a cell of at most {} bytes, found {}; close the quote that opens it, or read the file with "
      "--quoting none (data.quoting = \"none\")",
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
                 "close it, double the quotes within, or read the file with --quoting none (data.quoting = "
                 "\"none\")");
    }
    ++at_;  // the quote
    if (at_ == end_ || *at_ != '"') break;
    *out++ = *at_++;
  }
  if (at_ < end_ && *at_ != delimiter_ && *at_ != '\n' && *at_ != '\r') {
    throw_data(
        where(source_, line_),
        "expected a delimiter after a closing quote, found '{}'; double the quotes within a quoted cell, "
        "or read the file with --quoting none (data.quoting = \"none\")",
        formats::printable(first_character({at_, static_cast<size_t>(end_ - at_)})));
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

namespace {

// How well a delimiter cuts the sample: the share of its rows of the most frequent width, a little more for
// finer cuts; 0 where that width is one.
double cut_score(std::string_view sample, char delimiter, Quoting quoting) {
  std::string text(sample);  // reading folds quotes
  CsvCursor cursor(text.data(), text.data() + text.size(), delimiter, quoting,
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
  if (rows == 0 || most->first < 2) return 0;
  return static_cast<double>(most->second) / static_cast<double>(rows) +
         1e-3 * std::min(1.0, static_cast<double>(most->first) / 1000.0);
}

}  // namespace

char find_delimiter(std::string_view sample, Quoting quoting) {
  char best = ',';
  double best_score = 0.5;
  for (const char candidate : kDelimiters) {
    const double score = cut_score(sample, candidate, quoting);
    if (score <= best_score) continue;
    best_score = score;
    best = candidate;
  }
  // R's write.table: a space between quoted fields.
  if (best_score == 0.5 && quoting == Quoting::kRfc4180 && sample.starts_with('"') &&
      cut_score(sample, ' ', quoting) > 0.5) {
    return ' ';
  }
  return best;
}

std::optional<char> take_separator_line(std::string_view& text) {
  const size_t end = std::min(text.find_first_of("\r\n"), text.size());
  std::string_view line = text.substr(0, end);
  const bool quoted = line.size() >= 2 && line.front() == '"' && line.back() == '"';
  if (quoted) line = line.substr(1, line.size() - 2);
  std::optional<char> found;
  if (line.size() == 5 && (line.starts_with("sep=") || line.starts_with("SEP=")) && line[4] != '"' &&
      static_cast<unsigned char>(line[4]) < 0x80) {
    found = line[4];
  } else if (line == "sep=\\t") {
    found = '\t';
  }
  if (!found) return found;
  text.remove_prefix(end);
  if (text.starts_with('\r')) text.remove_prefix(1);
  if (text.starts_with('\n')) text.remove_prefix(1);
  return found;
}

}  // namespace fovea::data
