#include "fovea/formats/words.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fovea/base/random.hpp"

namespace fovea::formats {
namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  for_each_word(text, [&](Span span) {
    found.emplace_back(
        text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin)));
  });
  return found;
}

using testing::ElementsAre;

TEST(Words, FollowTheUnicodeRules) {
  EXPECT_THAT(words("Can't stop, 3.5%"), ElementsAre("Can't", "stop", ",", "3.5", "%"));
  EXPECT_THAT(words("x_1 a.b 1,000;2 end."), ElementsAre("x_1", "a.b", "1,000;2", "end", "."));
  EXPECT_THAT(words("Größe, naïve"), ElementsAre("Größe", ",", "naïve"));
  EXPECT_THAT(words("e\xCC\x81t\xC3\xA9"), ElementsAre("e\xCC\x81t\xC3\xA9"));
  EXPECT_THAT(words("libfoo++-dev"), ElementsAre("libfoo", "+", "+", "-", "dev"));
  EXPECT_TRUE(words("").empty());
  EXPECT_TRUE(words(" \t\r\n\x01").empty());
  EXPECT_FALSE(words("\xFF\xC3 broken").empty());
}

// A letter beyond ASCII at the end sends the same text through the general machine.
TEST(Words, PlainAsciiGivesWhatTheGeneralMachineGives) {
  Random random(2);
  const std::string_view alphabet = "abZ09_.',:;-+\"/@#$%&()[]{}<>=!?*~^|\\` \t\n\r";
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (uint64_t n = random.below(20); n > 0; --n) text += alphabet[random.below(alphabet.size())];
    auto general = words(text + " é");
    ASSERT_EQ(general.back(), "é");
    general.pop_back();
    ASSERT_EQ(words(text), general) << text;
  }
}

TEST(LowerCase, AsciiAndBeyond) {
  EXPECT_EQ(lower_case("ABC xyz 09 [\\]"), "abc xyz 09 [\\]");
  EXPECT_EQ(lower_case("GRÖẞE Straße ÉÑ"), "größe straße éñ");
  EXPECT_EQ(lower_case("ΑΒΓ"), "αβγ");
  EXPECT_EQ(lower_case("A\xFFÉ"), "a\xEF\xBF\xBDé");
  EXPECT_EQ(lower_case(""), "");
}

}  // namespace
}  // namespace fovea::formats
