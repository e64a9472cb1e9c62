#include "fovea/formats/printable.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

namespace {

constexpr size_t kListed = 10;
constexpr size_t kNameCharacters = 60;

// Control characters (C0, delete, C1), line and paragraph separators, marks of direction, a byte-order mark
// within the text.
bool is_obeyed(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0x200E || c == 0x200F ||
         c == 0x061C || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

std::string escaped(char32_t c) {
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  const auto value = static_cast<uint32_t>(c);
  return value < 0x100 ? fmt::format("\\x{:02x}", value) : fmt::format("\\u{:04x}", value);
}

bool is_plain(char c) {
  return c >= 0x20 && c < 0x7F;
}

std::string shown(std::string_view text, size_t characters, bool lines) {
  // Most texts are: a tenth of the time of a prediction of short ones went into looking at their letters.
  if (text.size() <= characters && std::all_of(text.begin(), text.end(), is_plain)) return std::string(text);
  std::string out;
  size_t count = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(text.size()); ++count) {
    if (count == characters) return out + "…";
    const CodePoint point = decode_utf8(text, i);
    const bool kept = lines && (point.value == '\n' || point.value == '\t');
    if (is_obeyed(point.value) && !kept) {
      out += escaped(point.value);
    } else {
      append_utf8(out, point.value);
    }
    i += point.length;
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text, size_t characters) {
  return shown(text, characters, false);
}

std::string printable_lines(std::string_view text) {
  return shown(text, text.size(), true);
}

std::string printable_list(std::span<const std::string> names) {
  std::string out;
  for (const std::string& name : names.first(std::min(names.size(), kListed))) {
    out += (out.empty() ? "" : ", ") + printable(name, kNameCharacters);
  }
  if (names.size() > kListed) out += fmt::format(" … and {} more", names.size() - kListed);
  return out;
}

}  // namespace fovea::formats
