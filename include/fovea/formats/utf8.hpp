// Reading text that may not be valid UTF-8, and turning other encodings into it. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fovea::formats {

// U+FFFD "�", which stands where bytes mean nothing.
inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// One step through a text. An invalid byte is one step of length 1 whose value is U+FFFD and `valid` false
// (truncated, overlong and surrogate sequences too: each of their bytes is its own step).
struct CodePoint {
  char32_t value = 0;  // up to U+10FFFF
  int64_t length = 0;  // bytes taken from the text, 1 to 4
  bool valid = true;   // tells an invalid byte from a U+FFFD that stands in the text
};

// The code point that begins at byte `position`, 0 <= position < text.size().
CodePoint decode_utf8(std::string_view text, int64_t position);

// Appends the UTF-8 form of `value`; U+FFFD for a surrogate or a value beyond U+10FFFF.
void append_utf8(std::string& out, char32_t value);

// The byte of the first invalid sequence, or -1 when the whole text is valid UTF-8.
int64_t find_invalid_utf8(std::string_view text);

// What a conversion could not read: how often it wrote U+FFFD, and where in its result it first did.
struct Replacements {
  int64_t count = 0;   // characters U+FFFD that it wrote
  int64_t first = -1;  // byte of the result; -1: nowhere
};

// The text with each invalid byte replaced by U+FFFD (three bytes).
std::string replace_invalid_utf8(std::string_view text, Replacements* found = nullptr);

// ISO 8859-1: every byte is the code point of the same number.
std::string latin1_to_utf8(std::string_view bytes);

// Windows-1252: as ISO 8859-1, but 27 of the bytes 0x80 to 0x9F are letters and marks such as ’ “ ” – — … €;
// the other five (0x81, 0x8D, 0x8F, 0x90, 0x9D) have no meaning and become U+FFFD.
std::string windows1252_to_utf8(std::string_view bytes, Replacements* found = nullptr);

// Which byte of a UTF-16 unit comes first: the lower one (FF FE as a mark), or the upper one (FE FF).
enum class ByteOrder { kLittle, kBig };
// UTF-16 code units without their byte-order mark. A lone surrogate, or a last odd byte, becomes U+FFFD.
std::string utf16_to_utf8(std::string_view bytes, ByteOrder order, Replacements* found = nullptr);

}  // namespace fovea::formats
