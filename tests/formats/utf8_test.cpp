#include "fovea/formats/utf8.hpp"

#include <gtest/gtest.h>

namespace fovea::formats {
namespace {

TEST(Utf8, EveryCodePointIsReadAsWritten) {
  for (char32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, value);
    const CodePoint point = decode_utf8(text, 0);
    ASSERT_TRUE(point.valid) << static_cast<uint32_t>(value);
    ASSERT_EQ(point.value, value);
    ASSERT_EQ(point.length, static_cast<int64_t>(text.size()));
    ASSERT_EQ(find_invalid_utf8(text), -1);
  }
}

TEST(Utf8, InvalidBytesAreOneStepEach) {
  // Continuation alone, overlong, surrogate, too large, truncated, never used.
  for (const std::string text : {"\x80", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                 "\xE2\x82", "\xF0\x9F\x98", "\xFE"}) {
    for (int64_t i = 0; i < static_cast<int64_t>(text.size()); ++i) {
      const CodePoint point = decode_utf8(text, i);
      EXPECT_FALSE(point.valid);
      EXPECT_EQ(point.length, 1);
      EXPECT_EQ(point.value, kReplacementCharacter);
    }
    EXPECT_EQ(find_invalid_utf8("plain text before " + text), 18);
    std::string replaced;
    for (size_t i = 0; i < text.size(); ++i) replaced += "\xEF\xBF\xBD";
    EXPECT_EQ(replace_invalid_utf8(text), replaced);
  }
}

TEST(Utf8, FindsInvalidBytesAtEveryPlace) {
  for (size_t size = 1; size < 40; ++size) {
    for (size_t i = 0; i < size; ++i) {
      std::string text(size, 'x');
      EXPECT_EQ(find_invalid_utf8(text), -1);
      text[i] = '\xFF';
      EXPECT_EQ(find_invalid_utf8(text), static_cast<int64_t>(i));
    }
  }
}

TEST(Utf8, CannotHoldSurrogates) {
  std::string text;
  append_utf8(text, 0xD800);
  append_utf8(text, 0x110000);
  EXPECT_EQ(text, "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Utf16, PairsLoneSurrogatesAndOddBytes) {
  using namespace std::string_literals;
  EXPECT_EQ(utf16_to_utf8("\x3D\xD8\x00\xDE"s, ByteOrder::kLittle), "😀");
  EXPECT_EQ(utf16_to_utf8("\xD8\x3D\xDE\x00"s, ByteOrder::kBig), "😀");
  EXPECT_EQ(utf16_to_utf8("\x3D\xD8x\0"s, ByteOrder::kLittle), "\xEF\xBF\xBDx");
  EXPECT_EQ(utf16_to_utf8("x\0y"s, ByteOrder::kLittle), "x\xEF\xBF\xBD");
  EXPECT_EQ(latin1_to_utf8("gr\xFC\xDF"), "grüß");
}

}  // namespace
}  // namespace fovea::formats
