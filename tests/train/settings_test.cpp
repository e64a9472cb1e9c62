#include "fovea/train/settings.hpp"

#include <gtest/gtest.h>

#include "fovea/base/error.hpp"

namespace fovea::train {
namespace {

Settings read(const std::string& toml) {
  const auto recipe = formats::Recipe::parse("[train]\n" + toml, "recipe.toml");
  return read_settings(recipe);
}

TEST(Settings, ReadsEveryKindOfKey) {
  const Settings s = read(
      "steps = 7\noptimizer = \"sgd\"\nlearning_rate = 0.5\nschedule = \"linear\"\nkeep_best = false\n"
      "precision = \"bf16\"\n");
  EXPECT_EQ(s.steps, 7);
  EXPECT_EQ(s.optimizer, OptimizerKind::kSgd);
  EXPECT_EQ(s.learning_rate, 0.5);
  EXPECT_EQ(s.schedule, optim::ScheduleKind::kLinear);
  EXPECT_FALSE(s.keep_best);
  EXPECT_EQ(s.precision, autograd::Precision::kBFloat16);
  EXPECT_EQ(read("").precision, autograd::Precision::kFloat32);
}

TEST(Settings, RefusesValuesOutOfRangeByName) {
  for (const char* line : {"learning_rate = -1", "epochs = 0", "optimizer = \"adamm\"", "precision = \"f8\"",
                           "beta2 = 1.0", "final_fraction = 2", "steps = \"many\""}) {
    try {
      read(line);
      ADD_FAILURE() << line;
    } catch (const DataError& e) {
      const std::string key(line, std::string(line).find(' '));
      EXPECT_NE(std::string(e.what()).find(key), std::string::npos) << e.what();
      EXPECT_EQ(std::string(e.what()).rfind("recipe.toml:2", 0), 0u) << e.what();
    }
  }
}

}  // namespace
}  // namespace fovea::train
