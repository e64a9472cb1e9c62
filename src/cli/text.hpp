// Numbers and tables as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::cli {

std::string with_commas(int64_t value);             // 1,234,567
std::string short_count(double value);              // 950, 45.1k, 1.2M
std::string clock_time(double seconds);             // 0:07, 12:40, 3:05:10
std::string percent(double share, int digits = 1);  // 0.795 -> "79.5"

enum class Align { kLeft, kRight };

// Rows of cells under a heading, columns padded with spaces, widths counted in code points; ends with a
// newline.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> heading) : rows_{std::move(heading)} {}
  // Cells are data's own words: formats::printable.
  void add(std::vector<std::string> cells);
  // The first column is left-aligned, the others as given, right when not given.
  std::string to_text(const std::vector<Align>& align = {}) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace fovea::cli
