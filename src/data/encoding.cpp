#include "data/encoding.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "data/magic.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {

constexpr size_t kSample = 65536;

// What stands between words, fields and lines.
bool is_separator(char c) {
  return c == '\n' || c == '\r' || c == '\t' || c == ' ' || c == ',' || c == ';' || c == '"';
}

// The text without two or three last bytes that begin a character and break off: a file that was cut says
// nothing against UTF-8 by it.
std::string_view without_cut_end(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[text.size() - i]); };
  for (size_t back = 2; back <= std::min<size_t>(3, text.size()); ++back) {
    if ((byte(back - 1) & 0xC0U) != 0x80U) return text;
    if (byte(back) >= (back == 2 ? 0xE0 : 0xF0) && byte(back) <= 0xF4)
      return text.substr(0, text.size() - back);
  }
  return text;
}

}  // namespace

void Utf8Evidence::add(std::string_view text) {
  for (int64_t i = 0; i < std::ssize(text);) {
    const formats::CodePoint point = formats::decode_utf8(text, i);
    invalid_ += point.valid ? 0 : 1;
    valid_ += point.length > 1 ? 1 : 0;
    i += point.length;
  }
}

std::optional<TextEncoding> find_utf16(std::string_view bytes) {
  bytes = bytes.substr(0, std::min(bytes.size(), kSample) & ~size_t{1});
  int64_t zeros[2] = {0, 0};
  for (size_t i = 0; i < bytes.size(); ++i) zeros[i & 1] += bytes[i] == '\0' ? 1 : 0;
  const int64_t all = zeros[0] + zeros[1];
  if (all == 0) return std::nullopt;
  const auto order = [](bool little) {
    return little ? TextEncoding::kUtf16Little : TextEncoding::kUtf16Big;
  };
  if (all * 5 >= std::ssize(bytes) && std::max(zeros[0], zeros[1]) * 10 >= all * 9) {
    return order(zeros[1] >= zeros[0]);
  }
  // The sample may end within a character of UTF-8; four bytes less tell.
  const int64_t invalid = formats::find_invalid_utf8(bytes);
  if (invalid < 0 || invalid + 4 >= std::ssize(bytes)) return std::nullopt;
  int64_t marks[2] = {0, 0};
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    marks[0] += bytes[i] == '\0' && is_separator(bytes[i + 1]) ? 1 : 0;
    marks[1] += bytes[i + 1] == '\0' && is_separator(bytes[i]) ? 1 : 0;
  }
  const bool little = marks[1] > marks[0];
  if (std::max(marks[0], marks[1]) < 1 + 3 * std::min(marks[0], marks[1])) return std::nullopt;
  // A sample may also end between two surrogates.
  formats::Replacements amiss;
  formats::utf16_to_utf8(bytes, little ? formats::ByteOrder::kLittle : formats::ByteOrder::kBig, &amiss);
  return amiss.count == 0 || (amiss.count == 1 && bytes.size() + 1 >= kSample) ? std::optional(order(little))
                                                                               : std::nullopt;
}

Mark find_mark(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xEF\xBB\xBF"sv)) return {TextEncoding::kUtf8, 3};
  if (bytes.starts_with("\xFF\xFE"sv)) return {TextEncoding::kUtf16Little, 2};
  if (bytes.starts_with("\xFE\xFF"sv)) return {TextEncoding::kUtf16Big, 2};
  return {};
}

std::optional<TextEncoding> beginning_encoding(std::string_view bytes, std::optional<TextEncoding> asked,
                                               size_t& mark) {
  const Mark marked = find_mark(bytes);
  mark = marked.length;
  if (asked == TextEncoding::kUtf16) {
    if (mark > 0 && marked.encoding != TextEncoding::kUtf8) return marked.encoding;
    mark = 0;
    return find_utf16(bytes).value_or(TextEncoding::kUtf16Little);
  }
  if (asked) {
    if (marked.encoding != *asked) mark = 0;  // those bytes are text, the caller says
    return asked;
  }
  if (mark > 0) return marked.encoding;
  return find_utf16(bytes);
}

std::string to_utf8(std::string_view bytes, TextEncoding encoding, formats::Replacements& found) {
  switch (encoding) {
    case TextEncoding::kUtf16Little:
    case TextEncoding::kUtf16:
      return formats::utf16_to_utf8(bytes, formats::ByteOrder::kLittle, &found);
    case TextEncoding::kUtf16Big:
      return formats::utf16_to_utf8(bytes, formats::ByteOrder::kBig, &found);
    case TextEncoding::kLatin1:
      return formats::latin1_to_utf8(bytes);
    case TextEncoding::kWindows1252:
      return formats::windows1252_to_utf8(bytes, &found);
    case TextEncoding::kUtf8:
      break;
  }
  return formats::replace_invalid_utf8(bytes, &found);
}

std::string decode_text(std::string bytes, const ReadOptions& options, ReadReport& report) {
  check_is_text(std::string_view(bytes).substr(0, kSample), formats::printable(report.source),
                options.encoding);
  size_t mark = 0;
  std::optional<TextEncoding> encoding = beginning_encoding(bytes, options.encoding, mark);
  report.byte_order_mark = mark > 0;
  const bool maybe_utf8 = !encoding || encoding == TextEncoding::kUtf8;
  if (maybe_utf8 && formats::find_invalid_utf8(bytes) < 0) {
    report.encoding = TextEncoding::kUtf8;
    if (mark > 0) bytes.erase(0, mark);
    return bytes;
  }
  if (!encoding) {
    Utf8Evidence evidence;
    evidence.add(without_cut_end(bytes));
    encoding = evidence.is_utf8() ? TextEncoding::kUtf8 : TextEncoding::kWindows1252;
  }
  report.encoding = *encoding;
  formats::Replacements found;
  std::string text = to_utf8(std::string_view(bytes).substr(mark), *encoding, found);
  report.replaced = found.count;
  if (found.count > 0) report.replaced_line = 1 + std::count(text.begin(), text.begin() + found.first, '\n');
  return text;
}

}  // namespace fovea::data
