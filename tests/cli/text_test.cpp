#include "cli/text.hpp"

#include <gtest/gtest.h>

namespace fovea::cli {
namespace {

TEST(Text, NumbersAreReadable) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
  EXPECT_EQ(with_commas(-1234), "-1,234");
  EXPECT_EQ(with_commas(-123), "-123");
  EXPECT_EQ(short_count(950), "950");
  EXPECT_EQ(short_count(999.7), "1.0k");
  EXPECT_EQ(short_count(45123), "45.1k");
  EXPECT_EQ(short_count(1.25e6), "1.2M");
  EXPECT_EQ(clock_time(7), "0:07");
  EXPECT_EQ(clock_time(3600 * 3 + 310), "3:05:10");
  EXPECT_EQ(percent(0.795), "79.5");
}

TEST(Text, ColumnsLineUpByCodePoints) {
  TextTable table({"model", "accuracy"});
  table.add({"é", "79.5"});
  table.add({"linear", "7"});
  EXPECT_EQ(table.to_text(), "model   accuracy\né           79.5\nlinear         7\n");
}

TEST(Text, CellsCannotSteerATerminal) {
  TextTable table({"class"});
  table.add({"\x1b[2J"});
  EXPECT_EQ(table.to_text(), "class\n\\x1b[2J\n");
}

}  // namespace
}  // namespace fovea::cli
