// Comma-separated values (RFC 4180), read in place. Internal.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "fovea/data/read.hpp"

namespace fovea::data {

// Cuts text into rows, one at a time. Doubled quotes are folded within the text itself, which is why it is
// writable; cells point into it. A blank line is skipped. The text ends where [begin, end) ends.
class CsvCursor {
 public:
  CsvCursor(char* begin, char* end, char delimiter, Quoting quoting, int64_t max_cell_bytes,
            std::string_view source, int64_t first_line = 1)
      : at_(begin),
        end_(end),
        delimiter_(delimiter),
        quoting_(quoting),
        max_cell_bytes_(max_cell_bytes),
        source_(source),
        line_(first_line) {}

  // False at the end. DataError: an unclosed quote, text after a closing quote, an oversized cell.
  bool next(std::vector<std::string_view>& cells);
  int64_t line() const { return row_line_; }  // where the last row began
  int64_t blank_lines() const { return blank_lines_; }

 private:
  std::string_view quoted_cell();
  std::string_view plain_cell();
  void end_line();
  void check_size(int64_t bytes, int64_t line) const;

  char* at_;
  char* end_;
  char delimiter_;
  Quoting quoting_;
  int64_t max_cell_bytes_;
  std::string_view source_;
  int64_t line_;
  int64_t row_line_ = 0;
  int64_t blank_lines_ = 0;
};

// The candidates where nothing is said.
inline constexpr std::array<char, 4> kDelimiters{',', '\t', ';', '|'};

// The one that cuts a sample into the most equal rows of more than one cell; ',' when none does.
char find_delimiter(std::string_view sample, Quoting quoting);

// The delimiter that a first line "sep=;" names, as spreadsheets write it; the line is taken off the text.
std::optional<char> take_separator_line(std::string_view& text);

}  // namespace fovea::data
