#include "fovea/formats/printable.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace fovea::formats {
namespace {

TEST(Printable, NothingThatATerminalObeysIsLeft) {
  EXPECT_EQ(printable("plain ünd ﬁne 😀"), "plain ünd ﬁne 😀");
  EXPECT_EQ(printable("\x1B[31mred\x07\r\n\t"), "\\x1b[31mred\\x07\\r\\n\\t");
  EXPECT_EQ(printable("\x7F\xC2\x9B"
                      "2J"),
            "\\x7f\\x9b2J");
  EXPECT_EQ(printable("a\xE2\x80\xAE"
                      "b\xE2\x80\xA8"
                      "c"),
            "a\\u202eb\\u2028c");
  EXPECT_EQ(printable("caf\xE9"), "caf\xEF\xBF\xBD");
}

TEST(Printable, LongTextIsCutAtACharacter) {
  EXPECT_EQ(printable("üüü", 3), "üüü");
  EXPECT_EQ(printable("üüüü", 3), "üüü…");
  EXPECT_EQ(printable("", 0), "");
}

TEST(Printable, ListsEndAtTen) {
  std::vector<std::string> names;
  for (int i = 1; i <= 10; ++i) names.push_back("c" + std::to_string(i));
  EXPECT_EQ(printable_list(names), "c1, c2, c3, c4, c5, c6, c7, c8, c9, c10");
  names.insert(names.end(), {"x", "y"});
  EXPECT_EQ(printable_list(names), "c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 … and 2 more");
  EXPECT_EQ(printable_list(std::vector<std::string>{"a\nb"}), "a\\nb");
}

}  // namespace
}  // namespace fovea::formats
