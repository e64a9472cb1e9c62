#include "fovea/data/split.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"

namespace fovea::data {
namespace {

constexpr double kFractions[] = {0.8, 0.1, 0.1};

void expect_partition(const Parts& parts, int64_t rows) {
  std::set<int64_t> seen;
  for (const auto& part : parts) {
    EXPECT_TRUE(std::is_sorted(part.begin(), part.end()));
    for (const int64_t row : part) EXPECT_TRUE(seen.insert(row).second) << row;
  }
  EXPECT_EQ(static_cast<int64_t>(seen.size()), rows);
  if (!seen.empty()) {
    EXPECT_EQ(*seen.begin(), 0);
    EXPECT_EQ(*seen.rbegin(), rows - 1);
  }
}

TEST(SplitRandom, PartsHaveTheirShare) {
  for (const int64_t rows : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 1000}) {
    const Parts parts = split_random(rows, kFractions, 1);
    ASSERT_EQ(parts.size(), 3u);
    expect_partition(parts, rows);
    for (size_t p = 0; p < 3; ++p) {
      EXPECT_LE(std::abs(static_cast<double>(parts[p].size()) - kFractions[p] * static_cast<double>(rows)),
                1.0)
          << rows;
    }
  }
}

TEST(SplitRandom, SeedDecides) {
  EXPECT_EQ(split_random(1000, kFractions, 5), split_random(1000, kFractions, 5));
  EXPECT_NE(split_random(1000, kFractions, 5), split_random(1000, kFractions, 6));
}

TEST(SplitStratified, EveryLabelHasItsShareInEveryPart) {
  std::vector<std::string_view> labels;
  for (int i = 0; i < 700; ++i) labels.push_back(i % 7 == 0 ? "rare" : i % 2 ? "odd" : "even");
  labels.push_back("alone");
  const Parts parts = split_stratified(labels, kFractions, 3);
  expect_partition(parts, 701);
  std::map<std::string_view, int64_t> totals;
  for (const auto label : labels) ++totals[label];
  for (const auto& [label, total] : totals) {
    for (size_t p = 0; p < 3; ++p) {
      const auto count = std::count_if(parts[p].begin(), parts[p].end(), [&, wanted = label](int64_t r) {
        return labels[static_cast<size_t>(r)] == wanted;
      });
      EXPECT_LT(std::abs(static_cast<double>(count) - kFractions[p] * static_cast<double>(total)), 1.0)
          << label << p;
    }
  }
  EXPECT_EQ(parts[0].back(), 700);  // the lone row is trained on
  EXPECT_EQ(parts, split_stratified(labels, kFractions, 3));
  EXPECT_NE(parts, split_stratified(labels, kFractions, 4));
}

TEST(SplitGrouped, GroupsStayTogether) {
  std::vector<std::string> names;
  Random random(1);
  for (int i = 0; i < 2000; ++i) names.push_back(fmt::format("g{}", random.below(300)));
  const std::vector<std::string_view> groups(names.begin(), names.end());
  const Parts parts = split_grouped(groups, kFractions, 2);
  expect_partition(parts, 2000);
  std::map<std::string_view, size_t> home;
  for (size_t p = 0; p < parts.size(); ++p) {
    for (const int64_t row : parts[p])
      EXPECT_EQ(home.emplace(groups[static_cast<size_t>(row)], p).first->second, p);
    // No group is larger than 20 rows, so no part can be farther off than that.
    EXPECT_LE(std::abs(static_cast<double>(parts[p].size()) - kFractions[p] * 2000.0), 20.0);
  }
  EXPECT_EQ(parts, split_grouped(groups, kFractions, 2));
  EXPECT_NE(parts, split_grouped(groups, kFractions, 3));
}

TEST(Split, BadFractionsAreRefused) {
  for (const std::vector<double>& bad : {std::vector<double>{},
                                         {0.5, 0.4},
                                         {1.5, -0.5},
                                         {1.0, 0.0},
                                         {std::nan(""), 1.0},
                                         std::vector<double>(17, 1.0 / 17)}) {
    EXPECT_THROW(split_random(10, bad, 0), ArgumentError);
    EXPECT_THROW(split_stratified({}, bad, 0), ArgumentError);
    EXPECT_THROW(split_grouped({}, bad, 0), ArgumentError);
  }
}

}  // namespace
}  // namespace fovea::data
