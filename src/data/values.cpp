#include "data/values.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <string>
#include <unordered_set>

namespace fovea::data {

namespace {

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// `count` digits at `at`, as a number; -1 when there are none.
int digits(std::string_view text, size_t at, size_t count) {
  if (at + count > text.size()) return -1;
  int value = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (!is_digit(text[i])) return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

bool is_day(int year, int month, int day) {
  if (year < 0 || month < 1 || month > 12 || day < 1) return false;
  constexpr int kDays[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return day <= kDays[month - 1] && (month != 2 || day < 29 || leap);
}

}  // namespace

double parse_number(std::string_view cell) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  cell = trim(cell);
  if (!cell.empty() && cell.front() == '+') cell.remove_prefix(1);
  if (cell.empty() || cell.size() > 400) return kNone;
  const char first = cell.front() == '-' && cell.size() > 1 ? cell[1] : cell.front();
  if (!is_digit(first) && first != '.') return kNone;  // "nan", "inf"
  double value = 0.0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (end != cell.data() + cell.size() || error != std::errc()) return kNone;
  return value;
}

bool is_number(std::string_view cell) {
  return !std::isnan(parse_number(cell));
}

bool is_integer(std::string_view cell) {
  cell = trim(cell);
  if (!cell.empty() && (cell.front() == '+' || cell.front() == '-')) cell.remove_prefix(1);
  if (cell.empty() || cell.size() > 18) return false;
  for (const char c : cell) {
    if (!is_digit(c)) return false;
  }
  return true;
}

bool is_date(std::string_view cell) {
  cell = trim(cell);
  if (cell.size() < 10 || cell.size() > 40) return false;
  if (cell.size() > 10 && cell[10] != ' ' && cell[10] != 'T') return false;
  if (cell.size() > 10 && (digits(cell, 11, 2) < 0 || cell.size() < 16 || cell[13] != ':')) return false;
  if ((cell[4] == '-' || cell[4] == '/') && cell[7] == cell[4]) {
    return is_day(digits(cell, 0, 4), digits(cell, 5, 2), digits(cell, 8, 2));
  }
  return cell[2] == '.' && cell[5] == '.' &&
         is_day(digits(cell, 6, 4), digits(cell, 3, 2), digits(cell, 0, 2));
}

ColumnReport describe_column(std::string_view name, std::span<const std::string_view> cells) {
  constexpr size_t kMaxDistinct = 10'000;
  constexpr int64_t kMaxCategories = 1000;
  constexpr size_t kLongestCategory = 100;
  ColumnReport report;
  report.name = name;
  bool integers = true;
  bool numbers = true;
  bool dates = true;
  size_t longest = 0;
  std::unordered_set<std::string_view> distinct;
  for (const std::string_view cell : cells) {
    if (cell.empty()) {
      ++report.missing;
      continue;
    }
    integers = integers && is_integer(cell);
    numbers = numbers && is_number(cell);
    dates = dates && is_date(cell);
    longest = std::max(longest, cell.size());
    if (distinct.size() < kMaxDistinct) distinct.insert(cell);
  }
  report.distinct = static_cast<int64_t>(distinct.size());
  const int64_t present = static_cast<int64_t>(cells.size()) - report.missing;
  const bool repeats = report.distinct <= kMaxCategories && 2 * report.distinct <= present;
  if (present == 0) {
    report.type = ColumnType::kText;
  } else if (integers) {
    report.type = ColumnType::kInteger;
  } else if (numbers) {
    report.type = ColumnType::kNumber;
  } else if (dates) {
    report.type = ColumnType::kDate;
  } else {
    report.type = repeats && longest <= kLongestCategory ? ColumnType::kCategory : ColumnType::kText;
  }
  return report;
}

}  // namespace fovea::data
