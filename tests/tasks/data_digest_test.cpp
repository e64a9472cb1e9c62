#include "fovea/tasks/data_digest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/formats/recipe.hpp"
#include "tasks/text_rows.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::tasks {
namespace {

using testing::HasSubstr;

std::string table(int rows, const std::string& header = "text,label\n") {
  std::string text = header;
  for (int i = 0; i < rows; ++i) text += "row " + std::to_string(i) + (i % 2 == 0 ? ",a\n" : ",b\n");
  return text;
}

class DigestTest : public testing::Test {
 protected:
  DataDigest digest(const std::string& file, const std::string& bytes, const std::string& settings = "") {
    const auto path = folder_.write(file, bytes);
    auto recipe =
        formats::Recipe::parse("task = \"text-classification\"\n[data]\n" + settings, "recipe.toml");
    recipe.set("data.file", path);
    return digest_of(read_text_rows(read_text_data_settings(recipe), nullptr));
  }
  // What the digest of a table says about another, after a journey through its file.
  std::string difference(const DataDigest& now) {
    digest("a.csv", table(60)).save(folder_.path() / "data.json");
    return DataDigest::load(folder_.path() / "data.json").difference(now);
  }
  TemporaryFolder folder_;
};

TEST_F(DigestTest, TheSameRowsAreTheSameHoweverTheyAreWritten) {
  EXPECT_EQ(difference(digest("a.csv", table(60))), "");
  EXPECT_EQ(difference(digest("elsewhere.csv", table(60))), "");
  std::string lines, other = "label;text;id\n";
  for (int i = 0; i < 60; ++i) {
    const std::string row = "row " + std::to_string(i), label = i % 2 == 0 ? "a" : "b";
    lines += "{\"text\": \"" + row + "\", \"label\": \"" + label + "\"}\n";
    other += label + ";\"" + row + "\";" + std::to_string(i * i) + "\n";
  }
  EXPECT_EQ(difference(digest("a.jsonl", lines)), "");
  EXPECT_EQ(difference(digest("semicolons.csv", other)), "");
}

TEST_F(DigestTest, EveryChangeOfRowsIsToldWithItsPlace) {
  const std::string before = table(60);
  const auto other = [&](const std::string& bytes) { return difference(digest("b.csv", bytes)); };
  EXPECT_THAT(
      other("text,label\nnew,a\n" + before.substr(11)),
      HasSubstr("b.csv: expected the 60 rows that the model was made with, found 61, the first other one is "
                "number 1 (line 2)"));
  EXPECT_THAT(other(before + "new,a\n"), HasSubstr("found 61, the first other one is number 61 (line 62)"));
  EXPECT_THAT(other(table(59)), HasSubstr("found 59, which ends after 59 rows"));
  std::string changed = before;
  changed.replace(changed.find("row 30,a"), 8, "row 30,b");
  EXPECT_THAT(other(changed),
              HasSubstr("found as many but not the same, the first other one is number 31 (line 32)"));
  std::string swapped = before;
  swapped.replace(swapped.find("row 10,a\nrow 11,b"), 17, "row 11,b\nrow 10,a");
  EXPECT_THAT(other(swapped), HasSubstr("number 11 (line 12)"));
}

TEST_F(DigestTest, OtherColumnsAndOtherSplitsAreTold) {
  EXPECT_THAT(difference(digest("b.csv", table(60, "text,class\n"))),
              HasSubstr("expected the classes in column label"));
  EXPECT_THAT(difference(digest("b.csv", table(60), "split_seed = 2\n")),
              HasSubstr("that the train split had, found 48 others"));
  EXPECT_THAT(difference(digest("b.csv", table(60), "test_share = 0.2\n")), HasSubstr("split had, found"));
}

TEST_F(DigestTest, LargeTablesAndTextsAreCutIntoBlocks) {
  const DataDigest large = digest("b.csv", table(5000));
  ASSERT_EQ(large.parts.size(), 1U);
  EXPECT_LE(large.parts[0].checksums.size(), 1024U);
  DataDigest other = large;
  other.parts[0].checksums[100] ^= 1U;
  EXPECT_THAT(large.difference(other), HasSubstr("among numbers 501 to 505 (line 502)"));
  EXPECT_EQ(digest_text("a", std::string(100000, 'x')).checksums.size(),
            digest_text("b", std::string(100000, 'y')).checksums.size());
  EXPECT_NE(digest_text("a", "x").checksums, digest_text("a", "y").checksums);
  // Where a cell ends belongs to the cell.
  EXPECT_NE(digest_cell("c", digest_cell("ab", 0)), digest_cell("bc", digest_cell("a", 0)));
}

TEST_F(DigestTest, ADamagedDigestIsRefused) {
  const auto file = folder_.write("data.json", "{\"parts\": 1}");
  EXPECT_THROW(DataDigest::load(file), DataError);
  EXPECT_THROW(DataDigest::load(folder_.path() / "none"), DataError);
}

}  // namespace
}  // namespace fovea::tasks
