#include "fovea/formats/utf8.hpp"

#include <array>
#include <cstring>

namespace fovea::formats {

namespace {

uint32_t byte_at(std::string_view text, int64_t i) {
  return static_cast<unsigned char>(text[static_cast<size_t>(i)]);
}

// Eight bytes at a time: most text is mostly ASCII.
int64_t skip_ascii(std::string_view text, int64_t i) {
  const auto size = static_cast<int64_t>(text.size());
  while (i + 8 <= size) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080u) != 0) break;
    i += 8;
  }
  while (i < size && byte_at(text, i) < 0x80) ++i;
  return i;
}

// Appends U+FFFD and counts it.
void replace(std::string& out, Replacements* found) {
  if (found != nullptr) {
    if (found->count++ == 0) found->first = static_cast<int64_t>(out.size());
  }
  append_utf8(out, kReplacementCharacter);
}

// The characters of 0x80 to 0x9F; 0 where there is none.
constexpr std::array<char16_t, 32> kWindows1252{
    0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

}  // namespace

CodePoint decode_utf8(std::string_view text, int64_t position) {
  constexpr CodePoint kInvalid{kReplacementCharacter, 1, false};
  const uint32_t first = byte_at(text, position);
  if (first < 0x80) return {first, 1, true};
  const int64_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || position + length > static_cast<int64_t>(text.size())) return kInvalid;
  uint32_t value = first & (0xFFu >> (length + 1));
  for (int64_t i = 1; i < length; ++i) {
    const uint32_t next = byte_at(text, position + i);
    if ((next & 0xC0u) != 0x80u) return kInvalid;
    value = value << 6 | (next & 0x3Fu);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (overlong || surrogate || value > 0x10FFFF) return kInvalid;
  return {value, length, true};
}

void append_utf8(std::string& out, char32_t value) {
  if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) value = kReplacementCharacter;
  const auto push = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    push(value);
  } else if (value < 0x800) {
    push(0xC0u | value >> 6);
    push(0x80u | (value & 0x3Fu));
  } else if (value < 0x10000) {
    push(0xE0u | value >> 12);
    push(0x80u | (value >> 6 & 0x3Fu));
    push(0x80u | (value & 0x3Fu));
  } else {
    push(0xF0u | value >> 18);
    push(0x80u | (value >> 12 & 0x3Fu));
    push(0x80u | (value >> 6 & 0x3Fu));
    push(0x80u | (value & 0x3Fu));
  }
}

int64_t find_invalid_utf8(std::string_view text) {
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = skip_ascii(text, 0); i < size; i = skip_ascii(text, i)) {
    const CodePoint point = decode_utf8(text, i);
    if (!point.valid) return i;
    i += point.length;
  }
  return -1;
}

std::string replace_invalid_utf8(std::string_view text, Replacements* found) {
  const auto size = static_cast<int64_t>(text.size());
  std::string out;
  out.reserve(text.size());
  for (int64_t i = 0; i < size;) {
    const int64_t plain = skip_ascii(text, i);
    out.append(text.substr(static_cast<size_t>(i), static_cast<size_t>(plain - i)));
    i = plain;
    if (i >= size) break;
    const CodePoint point = decode_utf8(text, i);
    if (point.valid) {
      append_utf8(out, point.value);
    } else {
      replace(out, found);
    }
    i += point.length;
  }
  return out;
}

std::string latin1_to_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 8);
  for (const char c : bytes) append_utf8(out, static_cast<unsigned char>(c));
  return out;
}

std::string windows1252_to_utf8(std::string_view bytes, Replacements* found) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 8);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    const char32_t value = byte >= 0x80 && byte < 0xA0 ? kWindows1252[byte - 0x80U] : char32_t{byte};
    if (value == 0 && byte != 0) {
      replace(out, found);
    } else {
      append_utf8(out, value);
    }
  }
  return out;
}

std::string utf16_to_utf8(std::string_view bytes, ByteOrder order, Replacements* found) {
  const auto size = static_cast<int64_t>(bytes.size());
  const auto unit = [&](int64_t i) -> char32_t {
    const uint32_t a = byte_at(bytes, i);
    const uint32_t b = byte_at(bytes, i + 1);
    return order == ByteOrder::kLittle ? b << 8 | a : a << 8 | b;
  };
  std::string out;
  out.reserve(bytes.size());
  int64_t i = 0;
  for (; i + 1 < size; i += 2) {
    char32_t value = unit(i);
    if (value >= 0xD800 && value <= 0xDBFF && i + 3 < size) {
      const char32_t low = unit(i + 2);
      if (low >= 0xDC00 && low <= 0xDFFF) {
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
        i += 2;
      }
    }
    if (value >= 0xD800 && value <= 0xDFFF) {
      replace(out, found);
    } else {
      append_utf8(out, value);
    }
  }
  if (i < size) replace(out, found);
  return out;
}

}  // namespace fovea::formats
