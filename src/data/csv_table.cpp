#include "data/csv_table.hpp"

#include <algorithm>
#include <filesystem>

#include "base/check.hpp"
#include "data/csv.hpp"
#include "data/header.hpp"
#include "data/text_lines.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {

constexpr size_t kSampleBytes = 65536;
constexpr size_t kSampleRows = 100;
// Between the fields of a table with one column, which has nothing between fields: ASCII's unit separator.
constexpr char kNoDelimiter = '\x1F';

// The first bytes, cut after a whole line where there is one.
std::string_view sample_of(std::string_view text) {
  if (text.size() <= kSampleBytes) return text;
  const size_t end = text.rfind('\n', kSampleBytes);
  return text.substr(0, end == std::string_view::npos ? kSampleBytes : end + 1);
}

std::string ending_of(std::string_view source) {
  std::string ending = std::filesystem::path(source).extension().string();
  for (char& c : ending) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return ending;
}

FirstRow find_header(std::string_view text, char delimiter, const ReadOptions& options) {
  std::string sample(sample_of(text));
  CsvCursor cursor(sample.data(), sample.data() + sample.size(), delimiter, options.quoting,
                   static_cast<int64_t>(sample.size()), "");
  std::vector<std::vector<std::string_view>> rows;
  std::vector<std::string_view> cells;
  try {
    while (rows.size() <= kSampleRows && cursor.next(cells)) rows.push_back(cells);
  } catch (const DataError&) {
    // The sample may end within a quote, and what is wrong in the file is reported when it is read.
  }
  // A sample that ends within a row would show that row too short.
  if (sample.size() < text.size() && rows.size() > 1 && !sample.ends_with('\n')) rows.pop_back();
  return judge_first_row(rows, options.wanted, options.purpose);
}

// Whether the first line is one of the wanted names and nothing else: then the table has one column, whatever
// marks of punctuation its texts hold.
bool is_one_wanted_name(std::string_view text, const ReadOptions& options) {
  LineCursor cursor(text);
  std::string_view line;
  return cursor.next(line) && has_wanted({line}, options.wanted);
}

bool all_blank(const std::vector<std::string_view>& cells) {
  return cells.size() == 1 && is_blank(cells[0]);
}

}  // namespace

char choose_delimiter(std::string_view& text, const ReadOptions& options, std::string_view source) {
  const std::optional<char> said = take_separator_line(text);
  if (options.delimiter) return *options.delimiter;
  if (said) return *said;
  const std::string ending = ending_of(source);
  if (ending == ".tsv" || ending == ".tab") return '\t';
  const char found = find_delimiter(sample_of(text), options.quoting);
  return is_one_wanted_name(text, options) ? kNoDelimiter : found;
}

std::vector<std::string> choose_names(const std::vector<std::string_view>& first, bool header,
                                      bool lacks_index, const ReadOptions& options, ReadReport& report,
                                      std::string_view place, int64_t& index) {
  report.header = header ? Header::kPresent : Header::kAbsent;
  std::vector<std::string_view> cells(first);
  if (lacks_index) cells.insert(cells.begin(), std::string_view());
  if (!options.names.empty()) {
    check_data(options.names.size() == cells.size(), place,
               "expected {} columns as data.names says, found {}", options.names.size(), cells.size());
    return options.names;
  }
  ColumnNames named = header ? header_names(cells) : numbered_names(cells.size());
  index = named.index;
  report.notes.insert(report.notes.end(), named.notes.begin(), named.notes.end());
  return std::move(named.names);
}

std::string header_note(const ReadReport& report, const ReadOptions& options) {
  if (!options.names.empty()) return "; the names are those of data.names";
  if (report.header == Header::kPresent) {
    return "; the first row was taken for the header: if it is data, say --header no (data.header = \"no\")";
  }
  return options.header ? "; the file was read without a header, as --header no (data.header) says"
                        : "; the first row was not taken for a header: if it is one, say --header yes "
                          "(data.header = \"yes\")";
}

void check_width(size_t found, size_t expected, char delimiter, std::string_view place) {
  check_data(
      found == expected, place,
      "expected {} fields, found {}; quote fields that hold '{}' or a line break, or name another delimiter "
      "(--delimiter, data.delimiter)",
      expected, found, formats::printable(std::string(1, delimiter)));
}

void read_csv(std::string& text, Table::Builder& builder, const ReadOptions& options, ReadReport& report) {
  std::string_view body = text;
  report.delimiter = choose_delimiter(body, options, report.source);
  char* begin = text.data() + (text.size() - body.size());
  const int64_t first_line = 1 + std::count(text.data(), begin, '\n');
  FirstRow first = find_header(body, report.delimiter, options);
  if (options.header) first.header = options.header == Header::kPresent;
  if (!first.header) first.lacks_index = false;
  CsvCursor cursor(begin, text.data() + text.size(), report.delimiter, options.quoting,
                   options.max_cell_bytes, report.source, first_line);
  std::vector<std::string_view> cells;
  size_t width = 0;
  while (cursor.next(cells)) {
    if (width == 0) {
      const std::string place = fmt::format("{}:{}", formats::printable(report.source), cursor.line());
      int64_t index = -1;
      std::vector<std::string> names =
          choose_names(cells, first.header, first.lacks_index, options, report, place, index);
      width = names.size();
      builder.set_names(std::move(names));
      builder.set_index(index);
      builder.set_note(header_note(report, options));
      if (first.header) continue;
    }
    if (cells.size() != width) {
      if (all_blank(cells)) {
        ++report.blank_lines;
        continue;
      }
      check_width(cells.size(), width, report.delimiter,
                  fmt::format("{}:{}", formats::printable(report.source), cursor.line()));
    }
    builder.add_row(cells, cursor.line());
  }
  report.blank_lines += cursor.blank_lines();
}

bool first_line_has_wanted(std::string_view text, const ReadOptions& options) {
  std::string_view body = text;
  const std::optional<char> said = take_separator_line(body);
  if (said) return true;
  std::vector<char> candidates(kDelimiters.begin(), kDelimiters.end());
  if (options.delimiter) candidates = {*options.delimiter};
  const std::string_view line = body.substr(0, std::min(body.find('\n'), kSampleBytes));
  return std::any_of(candidates.begin(), candidates.end(), [&](char delimiter) {
    std::string copy(line);
    CsvCursor cursor(copy.data(), copy.data() + copy.size(), delimiter, options.quoting,
                     static_cast<int64_t>(copy.size()), "");
    std::vector<std::string_view> cells;
    try {
      return cursor.next(cells) && has_wanted(cells, options.wanted);
    } catch (const DataError&) {
      return false;  // prose with a quote in it
    }
  });
}

}  // namespace fovea::data
