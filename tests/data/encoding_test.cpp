// Encodings by evidence, what is no text, and bounds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "fovea/base/error.hpp"
#include "fovea/data/read.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::data {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;
using testing::StartsWith;

ReadText text_of(const std::string& bytes, const ReadOptions& options = {}) {
  bool given = false;
  return read_text(
      [&](std::span<char> out) -> size_t {
        if (given) return 0;
        given = true;
        std::copy(bytes.begin(), bytes.end(), out.begin());
        return bytes.size();
      },
      "t.txt", options);
}

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

std::string utf16(const std::u16string& text, bool little) {
  std::string bytes;
  for (const char16_t c : text) {
    const char low = static_cast<char>(c & 0xFF);
    const char high = static_cast<char>(c >> 8);
    bytes += little ? std::string{low, high} : std::string{high, low};
  }
  return bytes;
}

TEST(Encoding, WindowsLettersAreThose) {
  const ReadText read = text_of(
      "it\x92s \x93"
      "5 \x80\x94 caf\xE9\n");
  EXPECT_EQ(read.text, "it’s “5 €” café\n");
  EXPECT_EQ(read.report.encoding, TextEncoding::kWindows1252);
  EXPECT_EQ(read.report.replaced, 0);
  EXPECT_EQ(text_of("\x81 caf\xE9\n").report.replaced, 1);
  EXPECT_EQ(text_of("caf\xE9 \x80", {.encoding = TextEncoding::kLatin1}).text, "café \xC2\x80");
}

TEST(Encoding, OneStrayByteLeavesUtf8Utf8) {
  const ReadText read = text_of("naïve\ncafé \xFF here\n\xFE\n");
  EXPECT_EQ(read.text, "naïve\ncafé \xEF\xBF\xBD here\n\xEF\xBF\xBD\n");
  EXPECT_EQ(read.report.encoding, TextEncoding::kUtf8);
  EXPECT_EQ(read.report.replaced, 2);
  EXPECT_EQ(read.report.replaced_line, 2);
  EXPECT_THAT(read.report.to_text(),
              HasSubstr("2 bytes that are no utf-8 replaced by U+FFFD, the first on line 2"));
  EXPECT_EQ(text_of("plain, cut in a character \xE2\x82").report.encoding, TextEncoding::kUtf8);
}

TEST(Encoding, Utf16WithAndWithoutMark) {
  const std::u16string western = u"text,label\ngrüß dich – ja,pos\n";
  const std::u16string chinese = u"评论,标签\n一部好电影一部好电影,好\n很差的一天,坏\n";
  for (const bool little : {true, false}) {
    const TextEncoding expected = little ? TextEncoding::kUtf16Little : TextEncoding::kUtf16Big;
    for (const std::u16string& text : {western, chinese}) {
      for (const bool mark : {true, false}) {
        const ReadText read = text_of(utf16(mark ? u"\xFEFF" + text : text, little));
        EXPECT_EQ(read.report.encoding, expected) << little << mark;
        EXPECT_EQ(read.report.byte_order_mark, mark);
        EXPECT_EQ(read.text, text_of(utf16(text, little), {.encoding = expected}).text);
        EXPECT_EQ(read.report.replaced, 0);
      }
    }
    EXPECT_EQ(text_of(utf16(u"\xFEFFgü", little), {.encoding = TextEncoding::kUtf16}).text, "gü");
  }
  const ReadText broken = text_of(utf16(u"a\xD83D\n", true) + "x");
  EXPECT_EQ(broken.text, "a\xEF\xBF\xBD\n\xEF\xBF\xBD");
  EXPECT_EQ(broken.report.replaced, 2);
}

TEST(Encoding, NamesAreThoseOfBothFaces) {
  ReadOptions options;
  for (const auto& [name, value] :
       std::vector<std::pair<const char*, const char*>>{{"encoding", "windows-1252"},
                                                        {"encoding", "iso-8859-1"},
                                                        {"encoding", "utf-16"},
                                                        {"encoding", "UTF-8"},
                                                        {"delimiter", "tab"},
                                                        {"delimiter", ";"},
                                                        {"header", "yes"},
                                                        {"header", "auto"},
                                                        {"quoting", "none"},
                                                        {"format", "lines"}}) {
    EXPECT_EQ(set_read_option(options, name, value), "") << name << value;
  }
  EXPECT_EQ(options.encoding, TextEncoding::kUtf8);
  EXPECT_EQ(options.delimiter, ';');
  EXPECT_FALSE(options.header.has_value());
  EXPECT_EQ(set_read_option(options, "header", "maybe"), "expected auto, yes or no, found \"maybe\"");
  EXPECT_EQ(set_read_option(options, "delimiter", ";;"),
            "expected auto, tab, comma, semicolon, pipe, space or a character, found \";;\"");
  EXPECT_THROW(set_read_option(options, "colour", "red"), ArgumentError);
}

TEST(NoText, IsRefusedByName) {
  for (const auto& [bytes, kind] :
       std::vector<std::pair<std::string, const char*>>{{"\x1F\x8B\x08"s, "a gzip file"},
                                                        {"PK\x03\x04"s, "a zip file or a spreadsheet"},
                                                        {"\xFD\x37zXZ\0"s, "an xz file"},
                                                        {"(\xB5/\xFD"s, "a Zstandard file"},
                                                        {"PAR1\x15\0"s, "a Parquet file"},
                                                        {"%PDF-1.4"s, "a PDF file"},
                                                        {"\xD0\xCF\x11\xE0"s, "an Excel or Word file"},
                                                        {"\xFF\xFE\0\0t\0\0\0"s, "UTF-32"},
                                                        {std::string(100, '\0'), "binary data"}}) {
    EXPECT_THAT(error_of([&] { text_of(bytes); }), HasSubstr("t.txt: expected text, found "s + kind)) << kind;
    EXPECT_THAT(error_of([&] { parse_table(bytes, "t.csv"); }), HasSubstr(kind));
  }
  EXPECT_EQ(text_of("BZh is a word, PAR1 and ORC too\n").text, "BZh is a word, PAR1 and ORC too\n");
}

TEST(Bounds, EndlessInputsAndOddFiles) {
  const ByteSource endless = [](std::span<char> out) {
    std::fill(out.begin(), out.end(), 'x');
    return out.size();
  };
  EXPECT_THAT(error_of([&] { read_table(endless, "pipe", {.max_file_bytes = 1'000'000}); }),
              StartsWith("pipe: expected at most 1000000 bytes, found at least"));
  EXPECT_THAT(error_of([] { read_table("/dev/zero"); }),
              StartsWith("/dev/zero: expected text, found binary data"));
  EXPECT_EQ(error_of([] { read_table("/dev/null"); }),
            "/dev/null: expected rows, found an empty file; was it written to the end?");
  const TemporaryFolder folder;
  std::filesystem::create_symlink(folder.path() / "gone", folder.path() / "link.csv");
  EXPECT_THAT(error_of([&] { read_table(folder.path() / "link.csv"); }),
              HasSubstr("found a link to one that is not there"));
  EXPECT_THAT(error_of([&] { read_table(folder.path()); }), HasSubstr("found a directory"));
  const std::string long_name = std::string(5000, 'x');
  EXPECT_THAT(error_of([&] { read_table(long_name); }), HasSubstr("expected a readable file"));
}

}  // namespace
}  // namespace fovea::data
