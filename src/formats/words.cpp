#include "fovea/formats/words.hpp"

#include <unicode/brkiter.h>
#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "base/check.hpp"
#include "fovea/formats/utf8.hpp"

namespace fovea::formats {

namespace {

enum class Kind : unsigned char { kSpace, kLetter, kDigit, kUnderscore, kMark };

constexpr std::array<Kind, 128> make_kinds() {
  std::array<Kind, 128> kinds{};
  for (size_t c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '@';
    const bool digit = c >= '0' && c <= '9';
    kinds[c] = c <= ' ' || c == 127 ? Kind::kSpace
               : letter             ? Kind::kLetter
               : digit              ? Kind::kDigit
               : c == '_'           ? Kind::kUnderscore
                                    : Kind::kMark;
  }
  return kinds;
}
constexpr std::array<Kind, 128> kKinds = make_kinds();

// The rules of UAX #29 that plain ASCII can meet, as ICU has them since version 72 ("@" is a letter, ":"
// joins nothing), ten times as fast as the general machine; a test holds the two together. WB5, 8-10: letters
// and digits join; WB6-7: . ' between letters; WB11-12: . ' , ; between digits; WB13: the underscore joins
// with all of them.
void for_each_ascii_word(std::string_view text, FunctionRef<void(Span)> emit) {
  const size_t size = text.size();
  const auto kind = [&](size_t i) { return kKinds[static_cast<unsigned char>(text[i])]; };
  for (size_t i = 0; i < size;) {
    const size_t begin = i;
    const Kind first = kind(i++);
    if (first == Kind::kSpace) continue;
    if (first != Kind::kMark) {
      while (i < size) {
        const Kind last = kind(i - 1);
        const char c = text[i];
        const Kind next = kind(i);
        if (next != Kind::kMark && next != Kind::kSpace) {
          ++i;
        } else if (next == Kind::kMark && i + 1 < size && kind(i + 1) == last &&
                   ((last == Kind::kLetter && (c == '.' || c == '\'')) ||
                    (last == Kind::kDigit && (c == '.' || c == '\'' || c == ',' || c == ';')))) {
          i += 2;
        } else {
          break;
        }
      }
    }
    emit({static_cast<int64_t>(begin), static_cast<int64_t>(i)});
  }
}

icu::BreakIterator& word_iterator() {
  // One a thread: the rules are shared by ICU, the position is not.
  thread_local const std::unique_ptr<icu::BreakIterator> iterator = [] {
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<icu::BreakIterator> made(
        icu::BreakIterator::createWordInstance(icu::Locale::getRoot(), status));
    check_data(U_SUCCESS(status) && made != nullptr, "ICU",
               "expected its word rules, found {}; reinstall libicu", u_errorName(status));
    return made;
  }();
  return *iterator;
}

void for_each_unicode_word(std::string_view text, FunctionRef<void(Span)> emit) {
  UErrorCode status = U_ZERO_ERROR;
  UText source = UTEXT_INITIALIZER;
  utext_openUTF8(&source, text.data(), static_cast<int64_t>(text.size()), &status);
  const std::unique_ptr<UText, UText* (*)(UText*)> guard(&source, utext_close);
  icu::BreakIterator& iterator = word_iterator();
  iterator.setText(&source, status);
  check_data(U_SUCCESS(status), "ICU", "could not read a text: {}", u_errorName(status));
  int32_t begin = iterator.first();
  for (int32_t end = iterator.next(); end != icu::BreakIterator::DONE; begin = end, end = iterator.next()) {
    const auto first = static_cast<UChar32>(decode_utf8(text, begin).value);
    if (u_isUWhiteSpace(first) || u_charType(first) == U_CONTROL_CHAR) continue;
    emit({begin, end});
  }
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

void for_each_word(std::string_view text, FunctionRef<void(Span)> emit) {
  check_argument(text.size() < size_t{std::numeric_limits<int32_t>::max()}, "for_each_word",
                 "expected a text of less than 2^31 bytes, got {}", text.size());
  if (text.empty()) return;
  if (is_ascii(text)) {
    for_each_ascii_word(text, emit);
  } else {
    for_each_unicode_word(text, emit);
  }
}

bool is_white_space(char32_t character) {
  return u_isUWhiteSpace(static_cast<UChar32>(character)) != 0;
}

std::string lower_case(std::string_view text) {
  std::string lower;
  std::string valid;
  if (is_ascii(text)) {
    lower = text;
    for (char& c : lower) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    }
    return lower;
  }
  check_argument(text.size() < size_t{std::numeric_limits<int32_t>::max()}, "lower_case",
                 "expected a text of less than 2^31 bytes, got {}", text.size());
  if (find_invalid_utf8(text) >= 0) {
    valid = replace_invalid_utf8(text);
    text = valid;
  }
  UErrorCode status = U_ZERO_ERROR;
  icu::StringByteSink<std::string> sink(&lower, static_cast<int32_t>(text.size()));
  icu::CaseMap::utf8ToLower("", 0, icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink,
                            nullptr, status);
  check_data(U_SUCCESS(status), "ICU", "could not read a text: {}", u_errorName(status));
  return lower;
}

}  // namespace fovea::formats
