#include "fovea/explain/quality.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "fovea/base/error.hpp"

namespace fovea::explain {
namespace {

TEST(Quality, HoldsTheScoresOfThePredictions) {
  const std::vector<std::string> classes{"a", "b"};
  const std::vector<int32_t> truth{0, 0, 1, 1};
  const std::vector<float> probabilities{0.9F, 0.1F, 0.4F, 0.6F, 0.2F, 0.8F, 0.3F, 0.7F};
  const PageQuality q = classification_quality(classes, truth, probabilities, "test");
  EXPECT_EQ(q.split, "test");
  EXPECT_EQ(q.metrics[0].name, "accuracy");
  EXPECT_EQ(q.metrics[0].value, 0.75);
  EXPECT_EQ(q.confusion, (std::vector<int64_t>{1, 1, 0, 2}));
  ASSERT_EQ(q.classes.size(), 2U);
  EXPECT_EQ(q.classes[1].recall, 1);
  EXPECT_EQ(q.classes[1].support, 2);
  EXPECT_TRUE(classification_quality(classes, {}, {}, "test").classes.empty());
}

class Curves : public testing::Test {
 protected:
  void write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("fovea-curves-" + std::to_string(getpid()))).string();
};

TEST_F(Curves, AreReadFromTheJournal) {
  write(
      "{\"step\":1,\"loss\":3.5,\"learning_rate\":0.1}\n\n{\"step\":2,\"loss\":null,\"learning_rate\":0.2}\n"
      "{\"step\":2,\"validation\":{\"loss\":3.25,\"accuracy\":0.5}}\n{\"step\":3,\"lo");
  const std::vector<PageCurve> curves = read_curves(path_);
  ASSERT_EQ(curves.size(), 4U);
  EXPECT_EQ(curves[0].name, "loss");
  EXPECT_EQ(curves[0].split, "train");
  EXPECT_EQ(curves[0].value, (std::vector<double>{3.5}));
  EXPECT_EQ(curves[1].step, (std::vector<double>{1, 2}));
  EXPECT_EQ(curves[2].name + curves[2].split, "accuracyvalidation");
  EXPECT_EQ(curves[3].value, (std::vector<double>{3.25}));
}

TEST_F(Curves, AreThinnedToMeans) {
  std::string text;
  for (int i = 0; i < 1000; ++i)
    text += "{\"step\":" + std::to_string(i) + ",\"loss\":" + std::to_string(i) + "}\n";
  write(text);
  const PageCurve curve = read_curves(path_, 10).at(0);
  ASSERT_EQ(curve.value.size(), 10U);
  EXPECT_EQ(curve.value[0], 49.5);
  EXPECT_EQ(curve.step[9], 949);
}

TEST_F(Curves, RefuseWhatIsNotAJournal) {
  write("{\"step\":1}\nnonsense\n{\"step\":2}\n");
  try {
    read_curves(path_);
    FAIL();
  } catch (const DataError& e) {
    EXPECT_EQ(e.what(),
              path_ + ":2: expected a JSON object with a step, found no JSON; train the model again");
  }
  EXPECT_TRUE(read_curves("/nowhere/metrics.jsonl").empty());
}

}  // namespace
}  // namespace fovea::explain
