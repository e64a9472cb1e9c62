#include "data/header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "data/values.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::data {

namespace {

using Rows = std::vector<std::vector<std::string_view>>;

constexpr size_t kLongName = 64;

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return out;
}

// Names that columns of text tables have in practice, in lower case.
bool is_usual_name(std::string_view cell) {
  static const std::unordered_set<std::string_view> names{
      "abstract", "answer",   "author",   "body",      "category", "class",    "comment",  "content",
      "date",     "document", "gender",   "group",     "headline", "id",       "index",    "intent",
      "label",    "labels",   "lang",     "message",   "name",     "polarity", "question", "rating",
      "review",   "score",    "sentence", "sentiment", "source",   "stars",    "subject",  "summary",
      "tag",      "target",   "text",     "timestamp", "title",    "topic",    "tweet",    "type",
      "url",      "user",     "username", "utterance", "y"};
  return names.contains(lower(cell));
}

// What tables write where a value is missing; no name, and no argument against a column of numbers.
bool is_missing_word(std::string_view cell) {
  static constexpr std::array<std::string_view, 9> kWords{"na",  "n/a", "nan", "null", "none",
                                                          "nil", "-",   "?",   "."};
  return std::find(kWords.begin(), kWords.end(), lower(cell)) != kWords.end();
}

bool has_space(std::string_view cell) {
  return cell.find(' ') != std::string_view::npos;
}

// The cells below the first one of a column.
struct Below {
  int64_t present = 0;
  int64_t numbers = 0;
  int64_t dates = 0;
  int64_t integers = 0;
  int64_t several_words = 0;
  int64_t repeats = 0;  // of the first row's cell
  int64_t distinct = 0;
  size_t longest = 0;

  bool all_numbers() const { return present > 0 && numbers == present; }
  bool all_dates() const { return present > 0 && dates == present; }
};

Below look_below(const Rows& rows, size_t column) {
  Below below;
  std::unordered_set<std::string_view> distinct;
  for (size_t r = 1; r < rows.size(); ++r) {
    if (column >= rows[r].size()) continue;
    const std::string_view cell = trim(rows[r][column]);
    if (cell.empty()) continue;
    ++below.present;
    below.integers += is_integer(cell) ? 1 : 0;
    below.numbers += is_number(cell) ? 1 : 0;
    below.dates += is_date(cell) ? 1 : 0;
    below.several_words += has_space(cell) ? 1 : 0;
    below.repeats += cell == trim(rows[0][column]) ? 1 : 0;
    below.longest = std::max(below.longest, cell.size());
    distinct.insert(cell);
  }
  below.distinct = static_cast<int64_t>(distinct.size());
  return below;
}

// A value of its column stands there as often as others do; a name that happens to be a value, too, is rarer.
bool is_one_of_the_values(const Below& below) {
  if (below.repeats == 0) return false;
  if (below.repeats == 1 && 2 * below.distinct > below.present) return below.present < 10;
  return 2 * below.repeats * below.distinct >= below.present;
}

// 0, 1, 2, …: the names that pandas gives to columns that have none.
bool counts_columns(const std::vector<std::string_view>& row) {
  int64_t next = 0;
  for (const std::string_view cell : row) {
    if (cell.empty() && next == 0) continue;  // above the index
    if (cell != fmt::format("{}", next)) return false;
    ++next;
  }
  return next >= 2;
}

// Rows of one width below a first row of one cell less, whose first cells are row names: all different, and
// numbers where the header has one name only.
bool lacks_index_name(const Rows& rows) {
  const size_t width = rows[0].size() + 1;
  std::set<std::string_view> row_names;
  bool numbers = true;
  for (size_t r = 1; r < rows.size(); ++r) {
    if (rows[r].size() != width || !row_names.insert(rows[r][0]).second) return false;
    numbers = numbers && is_integer(rows[r][0]);
  }
  for (const std::string_view name : rows[0]) {
    if (trim(name).empty() || is_number(name)) return false;
  }
  return rows.size() > 1 && (numbers || width > 2);
}

bool all_usual_names(const std::vector<std::string_view>& row) {
  return std::all_of(row.begin(), row.end(),
                     [](std::string_view cell) { return trim(cell).empty() || is_usual_name(trim(cell)); });
}

bool all_different(const std::vector<std::string_view>& row) {
  std::set<std::string_view> seen;
  return std::all_of(row.begin(), row.end(), [&](std::string_view cell) {
    return trim(cell).empty() || seen.insert(trim(cell)).second;
  });
}

// For and against the first row being a header.
struct Evidence {
  int names_over_types = 0;  // a word above numbers or dates, nothing above a counted index
  int usual_names = 0;       // well-known ones that are not values of their column
  int words_over_sentences = 0;
  int numbers_over_numbers = 0;
  int numbers_over_words = 0;
  int values = 0;       // cells that are values of their column
  int rare_values = 0;  // cells that stand below, but rarely
  int empty_over_values = 0;
  int long_cells = 0;  // as long as what is below
};

Evidence weigh(const Rows& rows) {
  Evidence evidence;
  for (size_t c = 0; c < rows[0].size(); ++c) {
    const std::string_view cell = trim(rows[0][c]);
    const Below below = look_below(rows, c);
    if (cell.empty()) {
      if (c == 0 && below.present > 0 && below.integers == below.present) {
        ++evidence.names_over_types;
      } else if (below.present > 0) {
        ++evidence.empty_over_values;
      }
      continue;
    }
    if (is_number(cell)) {
      ++(below.all_numbers() ? evidence.numbers_over_numbers : evidence.numbers_over_words);
      continue;
    }
    if ((below.all_numbers() || (below.all_dates() && !is_date(cell))) && !is_missing_word(cell)) {
      ++evidence.names_over_types;
    }
    const bool value = is_one_of_the_values(below);
    evidence.values += value ? 1 : 0;
    evidence.rare_values += !value && below.repeats > 0 ? 1 : 0;
    evidence.usual_names += !value && is_usual_name(cell) ? 1 : 0;
    if (!has_space(cell) && below.present >= 2 && 5 * below.several_words >= 4 * below.present) {
      ++evidence.words_over_sentences;
    }
    const bool asks = cell.ends_with('?') || cell.ends_with(':');
    if (cell.size() > kLongName && !asks && 2 * cell.size() < 3 * below.longest) ++evidence.long_cells;
  }
  return evidence;
}

}  // namespace

bool has_wanted(const std::vector<std::string_view>& row, const std::vector<std::string>& wanted) {
  return std::any_of(row.begin(), row.end(), [&](std::string_view cell) {
    const std::string_view name = trim(cell);
    return !name.empty() && std::find(wanted.begin(), wanted.end(), name) != wanted.end();
  });
}

FirstRow judge_first_row(const Rows& rows, const std::vector<std::string>& wanted, Purpose purpose) {
  if (rows.empty()) return {};
  const std::vector<std::string_view>& first = rows[0];
  if (std::all_of(first.begin(), first.end(), [](std::string_view cell) { return trim(cell).empty(); }))
    return {};
  const bool lacks_index = lacks_index_name(rows);
  if (has_wanted(first, wanted) || lacks_index) return {true, lacks_index};
  // Texts without a known name above them are texts from the first line on.
  if (purpose == Purpose::kTexts && first.size() == 1) return {};
  const Evidence e = weigh(rows);
  if (e.names_over_types > 0 || (counts_columns(first) && e.numbers_over_words > 0)) return {true, false};
  if (first.size() > 1 && all_usual_names(first)) return {true, false};
  const bool named = e.usual_names > 0;
  const bool header = e.numbers_over_numbers > 0                         ? false
                      : e.numbers_over_words > 0                         ? named
                      : e.values > 0                                     ? named
                      : e.rare_values > 0                                ? named || e.words_over_sentences > 0
                      : e.empty_over_values > 0 || !all_different(first) ? named || e.words_over_sentences > 0
                                                                         : e.long_cells == 0 || named;
  return {header, false};
}

ColumnNames numbered_names(size_t columns) {
  ColumnNames result;
  for (size_t i = 0; i < columns; ++i) result.names.push_back(fmt::format("column_{}", i + 1));
  return result;
}

ColumnNames header_names(const std::vector<std::string_view>& header) {
  ColumnNames result;
  std::vector<std::string> written;
  for (const std::string_view cell : header) written.push_back(formats::replace_invalid_utf8(trim(cell)));
  std::unordered_set<std::string> taken(written.begin(), written.end());
  std::unordered_set<std::string> used;
  std::unordered_map<std::string, int> next;
  // "name", or the first of "name_2", "name_3", … that no other column has.
  const auto numbered = [&](const std::string& name) {
    int& n = next.try_emplace(name, 2).first->second;
    std::string result_name;
    do {
      result_name = fmt::format("{}_{}", name, n++);
    } while (taken.contains(result_name) || used.contains(result_name));
    return result_name;
  };
  std::vector<std::string> unnamed;
  std::vector<std::string> repeated;
  for (size_t c = 0; c < written.size(); ++c) {
    std::string name = written[c];
    if (name.empty()) {
      name = fmt::format("column_{}", c + 1);
      if (taken.contains(name)) name = numbered(name);
      if (c > 0) unnamed.push_back(name);
    } else if (used.contains(name)) {
      name = numbered(name);
      repeated.push_back(name);
    }
    used.insert(name);
    result.names.push_back(std::move(name));
  }
  // "Unnamed: 0" is what pandas makes of such a column when it reads and writes it.
  if (written.size() > 1 && (written[0].empty() || written[0] == "Unnamed: 0")) {
    result.index = 0;
    result.notes.push_back(
        fmt::format("the first column has no name, as pandas and R write row numbers: it is {}, and no input "
                    "unless it is asked for",
                    formats::printable(result.names[0])));
  }
  if (!unnamed.empty()) {
    result.notes.push_back(fmt::format("columns without a name are called by their place: {}",
                                       formats::printable_list(unnamed)));
  }
  if (!repeated.empty()) {
    result.notes.push_back(fmt::format("columns with the name of an earlier one are called {}",
                                       formats::printable_list(repeated)));
  }
  return result;
}

}  // namespace fovea::data
