#include "fovea/models/linear_classifier.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "fovea/base/error.hpp"

namespace fovea::models {
namespace {

const std::vector<std::string_view> kTexts = {"red apple", "green apple", "fast engine", "slow engine",
                                              "red engine"};
const std::vector<int32_t> kLabels = {0, 0, 1, 1, 1};

TEST(Ngrams, CountsWordsPairsAndTheirWeights) {
  const auto ngrams = Ngrams::fit(kTexts, {.words = 2, .chars_max = 0, .min_count = 2});
  EXPECT_EQ(ngrams.size(), 3);  // red, apple, engine; every pair occurs once
  SparseRows rows;
  ngrams.transform("Red APPLE engine unseen", rows);
  ASSERT_EQ(rows.count(), 1);
  ASSERT_EQ(rows.values.size(), 3u);
  // idf = ln(6 / (1 + n)) + 1 with n = 2, 2, 3; then length one.
  const double two = std::log(6.0 / 3) + 1, three = std::log(6.0 / 4) + 1;
  const double norm = std::sqrt(2 * two * two + three * three);
  auto sorted = rows.values;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_NEAR(static_cast<double>(sorted[0]), three / norm, 1e-6);
  EXPECT_NEAR(static_cast<double>(sorted[2]), two / norm, 1e-6);
}

TEST(Ngrams, AnEmptyTextIsAnEmptyRow) {
  const auto ngrams = Ngrams::fit(kTexts, {});
  SparseRows rows;
  ngrams.transform("", rows);
  ngrams.transform("...", rows);
  EXPECT_EQ(rows.count(), 2);
  EXPECT_TRUE(rows.values.empty());
}

TEST(Ngrams, RefusesNothingToCountAndDamage) {
  EXPECT_THROW(Ngrams::fit(kTexts, {.words = 0, .chars_max = 0}), ArgumentError);
  EXPECT_THROW(Ngrams::restore({}, Tensor::from<int64_t>({2, 1}, {2}), Tensor::zeros({2}), "model"),
               DataError);
  EXPECT_THROW(Ngrams::restore({}, Tensor{}, Tensor{}, "model"), DataError);
}

TEST(LinearTrainer, LearnsWhatOneWordTells) {
  const auto ngrams = Ngrams::fit(kTexts, {.min_count = 1});
  SparseRows rows;
  for (const auto text : kTexts) ngrams.transform(text, rows);
  LinearTrainer trainer(rows, kLabels, ngrams.size(), 2, {}, {});
  double first = 0, last = 0;
  for (int epoch = 0; epoch < 20; ++epoch) (epoch == 0 ? first : last) = trainer.run_epoch();
  EXPECT_LT(last, 0.5 * first);
  SparseRows test;
  ngrams.transform("green engine", test);
  std::array<float, 2> logits{};
  trainer.model().logits(test, 0, logits);
  EXPECT_GT(logits[1], logits[0]);
}

TEST(LinearTrainer, RefusesLabelsOutOfRange) {
  SparseRows rows;
  rows.offsets.push_back(0);
  const std::vector<int32_t> bad = {2};
  EXPECT_THROW(LinearTrainer(rows, bad, 1, 2, {}, {}), ArgumentError);
  EXPECT_THROW(LinearTrainer(rows, {}, 1, 2, {}, {}), ArgumentError);
}

}  // namespace
}  // namespace fovea::models
