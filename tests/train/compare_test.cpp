#include "fovea/train/compare.hpp"

#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>

#include "fovea/base/error.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

TEST(Compare, TrainsEachKindWithItsOwnKeysAndPrintsATable) {
  const test::Folder folder;
  auto r = test::recipe(folder, "[kinds.lstm.train]\nepochs = 1\n");
  const std::array kinds = {models::ModelKind::kLstm, models::ModelKind::kCnn, models::ModelKind::kMajority};
  r.set("train.epochs", int64_t{2});
  const auto results = compare(r, kinds, {.out = folder.path() / "models"});
  ASSERT_EQ(results.size(), 3u);
  EXPECT_LT(results[0].steps, results[1].steps);
  const auto table = comparison_table(results);
  for (const char* word : {"lstm", "cnn", "majority", "95 % interval", "macro-F1", "parameters"}) {
    EXPECT_NE(table.find(word), std::string::npos) << table;
  }
  const auto json = nlohmann::json::parse(comparison_json(results));
  EXPECT_EQ(json["models"].size(), 3u);
  EXPECT_TRUE(json["models"][0].contains("accuracy_interval"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "models" / "cnn" / "card.md"));
}

TEST(Compare, RefusesNoneAndRepeatedKinds) {
  const test::Folder folder;
  const auto r = test::recipe(folder);
  EXPECT_THROW(compare(r, {}, {.out = folder.path() / "models"}), ArgumentError);
  const std::array twice = {models::ModelKind::kCnn, models::ModelKind::kCnn};
  EXPECT_THROW(compare(r, twice, {.out = folder.path() / "models"}), ArgumentError);
}

}  // namespace
}  // namespace fovea::train
