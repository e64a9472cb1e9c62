#include "fovea/data/check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fovea/base/error.hpp"
#include "fovea/data/stats.hpp"

namespace fovea::data {
namespace {

Table table(std::vector<std::string> texts, std::vector<std::string> labels, std::string source = "d.csv") {
  std::vector<int64_t> lines;
  for (size_t i = 0; i < texts.size(); ++i) lines.push_back(static_cast<int64_t>(i) + 2);
  return Table::from_columns({"text", "label"}, {std::move(texts), std::move(labels)}, lines,
                             std::move(source));
}

std::vector<std::string> places(const CheckReport& report, FindingKind kind) {
  std::vector<std::string> where;
  for (const Finding& finding : report.findings) {
    if (finding.kind != kind) continue;
    for (const Example& example : finding.examples) where.push_back(example.where);
  }
  return where;
}

const CheckOptions kOptions{.inputs = {"text"}, .target = "label", .rare_below = 1};

TEST(Check, CleanDataSaysSo) {
  const CheckReport report = check(table({"one", "two", "three"}, {"a", "b", "a"}), kOptions);
  EXPECT_TRUE(report.clean());
  EXPECT_EQ(report.classes, 2);
  EXPECT_EQ(report.to_text(), "d.csv: 3 rows\n2 classes\nnothing to complain about\n");
}

TEST(Check, DuplicatesIgnoreCaseAndSpace) {
  const CheckReport report =
      check(table({"One  two", "other", " one TWO\n", "one two"}, {"a", "b", "a", "a"}), kOptions);
  EXPECT_EQ(report.count(FindingKind::kDuplicate), 2);
  EXPECT_EQ(report.count(FindingKind::kConflict), 0);
  EXPECT_THAT(places(report, FindingKind::kDuplicate), testing::ElementsAre("d.csv:4", "d.csv:5"));
  EXPECT_EQ(report.findings[0].examples[0].text, "as d.csv:2:  one TWO ");
}

TEST(Check, ConflictsCountEveryRowOfTheInput) {
  const CheckReport report = check(table({"x", "y", "x", "x", "y"}, {"a", "a", "a", "b", "a"}), kOptions);
  EXPECT_EQ(report.count(FindingKind::kConflict), 3);
  EXPECT_EQ(report.count(FindingKind::kDuplicate), 2);
  EXPECT_THAT(places(report, FindingKind::kConflict), testing::ElementsAre("d.csv:2", "d.csv:4", "d.csv:5"));
  for (const Finding& finding : report.findings) {
    if (finding.kind == FindingKind::kConflict) {
      EXPECT_EQ(finding.examples[0].text, "a, but b at d.csv:5");
      EXPECT_EQ(finding.examples[2].text, "b, but a at d.csv:2");
    }
  }
}

TEST(Check, LeaksAndUnseenClassesBetweenParts) {
  const NamedTable parts[] = {{"train", table({"x", "y"}, {"a", "a"}, "train.csv")},
                              {"test", table({"z", "X ", "w"}, {"a", "a", "c"}, "test.csv")}};
  const CheckReport report = check(parts, kOptions);
  EXPECT_EQ(report.count(FindingKind::kLeak), 1);
  EXPECT_THAT(places(report, FindingKind::kLeak), testing::ElementsAre("test.csv:3"));
  EXPECT_EQ(report.count(FindingKind::kDuplicate), 0);
  EXPECT_EQ(report.count(FindingKind::kUnseenClass), 1);
  EXPECT_THAT(report.to_text(), testing::HasSubstr("c: only in test"));
}

TEST(Check, EmptyOverlongInvalidAndRare) {
  CheckOptions options = kOptions;
  options.overlong_bytes = 10;
  options.rare_below = 3;
  const CheckReport report =
      check(table({"", " \t", "ok", "this is too long", "bad \xFF", "fine"}, {"a", "a", "", "a", "b", "a"}),
            options);
  EXPECT_EQ(report.count(FindingKind::kEmptyInput), 2);
  EXPECT_EQ(report.count(FindingKind::kEmptyTarget), 1);
  EXPECT_EQ(report.count(FindingKind::kOverlong), 1);
  EXPECT_EQ(report.count(FindingKind::kInvalidUtf8), 1);
  EXPECT_EQ(report.count(FindingKind::kRareClass), 1);
  EXPECT_THAT(report.to_text(), testing::HasSubstr("b: 1 rows"));
}

TEST(Check, ExamplesAreBoundedAndCountsAreNot) {
  CheckOptions options = kOptions;
  options.examples = 2;
  const CheckReport report =
      check(table(std::vector<std::string>(50, "same"), std::vector<std::string>(50, "a")), options);
  EXPECT_EQ(report.count(FindingKind::kDuplicate), 49);
  EXPECT_EQ(report.findings[0].examples.size(), 2u);
}

TEST(Check, JsonHoldsEverything) {
  const auto json =
      nlohmann::json::parse(check(table({"x", "x", "bad\xFF"}, {"a", "b", "c"}), kOptions).to_json());
  EXPECT_EQ(json["parts"][0]["rows"], 3);
  EXPECT_EQ(json["findings"][0]["kind"], "invalid_utf8");
  EXPECT_EQ(json["findings"][1]["kind"], "conflict");
  EXPECT_EQ(json["findings"][1]["count"], 2);
}

TEST(Check, MissingColumnNamesTheNearest) {
  CheckOptions options = kOptions;
  options.target = "lable";
  try {
    check(table({"x"}, {"a"}), options);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(),
                 "d.csv: expected a column \"lable\", found text, label; did you mean \"label\"?");
  }
  EXPECT_THROW(check(std::span<const NamedTable>(), options), ArgumentError);
}

TEST(Stats, FiguresOfEveryType) {
  std::string csv = "text,label,price\n";
  for (int i = 1; i <= 20; ++i) {
    csv +=
        "Größe number " + std::to_string(i) + ".," + (i % 4 ? "a" : "b") + "," + std::to_string(i) + ".5\n";
  }
  const TableStats result = stats(parse_table(csv, "d.csv"));
  EXPECT_EQ(result.rows, 20);
  ASSERT_TRUE(result.columns[0].words.has_value());
  EXPECT_EQ(result.columns[0].words->most, 4.0);
  EXPECT_EQ(result.columns[0].characters->least, 15.0);
  EXPECT_EQ(result.columns[1].top[0].value, "a");
  EXPECT_EQ(result.columns[1].top[0].count, 15);
  ASSERT_TRUE(result.columns[2].numbers.has_value());
  EXPECT_DOUBLE_EQ(result.columns[2].numbers->mean, 11.0);
  EXPECT_NEAR(result.columns[2].numbers->deviation, 5.916079783, 1e-9);  // √35
  EXPECT_EQ(result.columns[2].numbers->least, 1.5);
  EXPECT_THAT(result.to_text(), testing::HasSubstr("75.00 %  a"));
  EXPECT_EQ(nlohmann::json::parse(result.to_json())["columns"][2]["numbers"]["most"], 20.5);
}

}  // namespace
}  // namespace fovea::data
