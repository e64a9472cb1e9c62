// Cutting text at its line ends, LF or CR LF. Internal.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace fovea::data {

// A blank line holds nothing but spaces and tabs.
inline bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

class LineCursor {
 public:
  explicit LineCursor(std::string_view text, int64_t first_line = 1) : text_(text), line_(first_line - 1) {}

  // False at the end. A line end at the very end begins no further line.
  bool next(std::string_view& line) {
    if (at_ >= text_.size()) return false;
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    line = text_.substr(at_, end - at_);
    at_ = end + 1;
    ++line_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    return true;
  }
  int64_t line() const { return line_; }

 private:
  std::string_view text_;
  size_t at_ = 0;
  int64_t line_;
};

}  // namespace fovea::data
