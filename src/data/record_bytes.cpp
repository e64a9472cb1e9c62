#include "data/record_bytes.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "data/magic.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {

constexpr size_t kBlock = 65536;

bool is_utf16(std::optional<TextEncoding> encoding) {
  return encoding == TextEncoding::kUtf16Little || encoding == TextEncoding::kUtf16Big;
}

// The length of the whole characters at the beginning of UTF-16: a last odd byte and a first half of a pair
// wait.
size_t whole_units(std::string_view bytes, bool little) {
  size_t whole = bytes.size() & ~size_t{1};
  if (whole < 2) return whole;
  const auto high = static_cast<unsigned char>(bytes[little ? whole - 1 : whole - 2]);
  return high >= 0xD8 && high <= 0xDB ? whole - 2 : whole;
}

}  // namespace

void RecordBytes::begin(std::string_view first) {
  check_is_text(first, formats::printable(name_), options_.encoding);
  size_t mark = 0;
  encoding_ = beginning_encoding(first, options_.encoding, mark);
  report_.byte_order_mark = mark > 0;
  if (encoding_) report_.encoding = *encoding_;
  units_ = first.substr(mark);
  started_ = true;
}

// Waits for further bytes; false when there are none.
bool RecordBytes::more() {
  if (ended_) return false;
  char block[kBlock];
  size_t count = source_(block);
  if (!started_) {
    // A mark, or a pattern of zero bytes, takes a few bytes to show.
    std::string first(block, count);
    while (count > 0 && first.size() < 4 && first.find('\n') == std::string::npos) {
      count = source_(block);
      first.append(block, count);
    }
    begin(first);
  } else {
    units_.append(block, count);
  }
  ended_ = count == 0;
  if (begin_ > 0) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  if (is_utf16(encoding_)) {
    const size_t whole =
        ended_ ? units_.size() : whole_units(units_, encoding_ == TextEncoding::kUtf16Little);
    formats::Replacements found;
    buffer_ += to_utf8(std::string_view(units_).substr(0, whole), *encoding_, found);
    if (report_.replaced == 0 && found.count > 0) report_.replaced_line = next_line_;
    report_.replaced += found.count;
    units_.erase(0, whole);
  } else {
    buffer_ += units_;
    units_.clear();
  }
  return !ended_ || begin_ < buffer_.size();
}

void RecordBytes::check_size(size_t bytes, int64_t most) const {
  if (std::cmp_less_equal(bytes, most)) return;
  throw_data(
      fmt::format("{}:{}", formats::printable(name_), line_),
      "expected a record of at most {} bytes, found more; break it up, or close the quote that opens it",
      most);
}

void RecordBytes::take(size_t length, std::string& out) {
  out.assign(buffer_, begin_, length);
  begin_ += length;
}

bool RecordBytes::next_line(std::string& line) {
  line_ = next_line_;
  size_t seen = 0;
  while (true) {
    const size_t end = buffer_.find('\n', begin_ + seen);
    if (end != std::string::npos) {
      take(end - begin_, line);
      ++begin_;
      break;
    }
    seen = buffer_.size() - begin_;
    check_size(seen, options_.max_cell_bytes);
    if (more()) continue;
    if (seen == 0 && begin_ == buffer_.size()) return false;
    take(buffer_.size() - begin_, line);
    break;
  }
  ++next_line_;
  check_size(line.size(), options_.max_cell_bytes);
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

bool RecordBytes::next_row(std::string& row, std::string_view delimiters) {
  const int64_t most = 4 * options_.max_cell_bytes;
  const bool quotes = options_.quoting == Quoting::kRfc4180;
  size_t at = 0;             // within the record
  bool cell_begins = true;   // the next byte is a cell's first
  bool quoted = false;       // within quotes
  bool quoted_cell = false;  // the cell began with one
  line_ = next_line_;
  const auto byte = [&](size_t i) { return buffer_[begin_ + i]; };
  while (true) {
    if (begin_ + at == buffer_.size()) {
      check_size(at, most);
      if (more()) continue;
      if (begin_ + at < buffer_.size()) continue;
      if (at == 0) return false;
      break;
    }
    if (after_return_) {
      after_return_ = false;
      if (byte(0) == '\n') {
        ++begin_;
        continue;
      }
    }
    const char c = byte(at);
    if (quoted) {
      quoted = c != '"';  // a doubled quote leaves and enters again
      if (c == '\n') ++next_line_;
    } else if (c == '"' && quotes && (cell_begins || (quoted_cell && byte(at - 1) == '"'))) {
      quoted = true;
      quoted_cell = true;
    } else if (c == '\n' || c == '\r') {
      break;
    }
    cell_begins = !quoted && delimiters.find(c) != std::string_view::npos;
    if (cell_begins) quoted_cell = false;
    ++at;
  }
  check_size(at, most);
  take(at, row);
  ++next_line_;
  if (begin_ < buffer_.size()) {
    after_return_ = buffer_[begin_] == '\r';
    ++begin_;
  }
  return true;
}

std::string RecordBytes::decoded(std::string bytes) {
  if (is_utf16(encoding_)) return bytes;  // is UTF-8 since it came
  const bool maybe_utf8 = !encoding_ || encoding_ == TextEncoding::kUtf8;
  if (maybe_utf8 && formats::find_invalid_utf8(bytes) < 0) {
    if (!encoding_) evidence_.add(bytes);
    return bytes;
  }
  TextEncoding encoding = encoding_.value_or(TextEncoding::kUtf8);
  if (!encoding_) {
    evidence_.add(bytes);
    if (!evidence_.is_utf8()) encoding = TextEncoding::kWindows1252;
    report_.encoding = encoding;
  }
  formats::Replacements found;
  std::string text = to_utf8(bytes, encoding, found);
  if (report_.replaced == 0 && found.count > 0) report_.replaced_line = line_;
  report_.replaced += found.count;
  return text;
}

}  // namespace fovea::data
