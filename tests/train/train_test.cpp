#include "fovea/train/train.hpp"

#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

using test::Folder;
using test::recipe;

TEST(Train, LearnsEachKindEndToEnd) {
  for (const char* kind : {"attention", "lstm", "cnn", "linear", "majority"}) {
    SCOPED_TRACE(kind);
    const Folder folder;
    auto r = recipe(folder);
    r.set("model.kind", kind);
    const auto result = train(r, {.out = folder.path() / "model"});
    EXPECT_EQ(result.task, "text-classification");
    ASSERT_GT(result.test.examples, 0);
    // Three classes told by one word each: learned wholly, but by the majority.
    if (std::string(kind) == "majority") {
      EXPECT_LT(result.test.figure("accuracy"), 0.8);
    } else {
      EXPECT_GT(result.test.figure("accuracy"), 0.95);
    }
    for (const char* file : {"config.json", "model.safetensors", "recipe.toml", "metrics.json", "card.md"}) {
      EXPECT_TRUE(std::filesystem::exists(result.folder / file)) << file;
    }
    EXPECT_FALSE(std::filesystem::exists(result.folder / "checkpoint"));
  }
}

TEST(Train, AMisspeltKeyIsNamedBeforeAnyWork) {
  const Folder folder;
  auto r = recipe(folder, "[train]\nlerning_rate = 0.1\n");
  try {
    train(r, {.out = folder.path() / "model"});
    FAIL() << "expected a DataError";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("lerning_rate"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("learning_rate"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "model"));
}

TEST(Train, RefusesAFolderInUse) {
  const Folder folder;
  auto r = recipe(folder);
  r.set("model.kind", "majority");
  train(r, {.out = folder.path() / "model"});
  EXPECT_THROW(train(r, {.out = folder.path() / "model"}), ArgumentError);
  EXPECT_NO_THROW(train(r, {.out = folder.path() / "model", .overwrite = true}));
  EXPECT_THROW(train(r, {}), ArgumentError);
}

TEST(Train, ALossThatIsNotFiniteNamesStepAndGradient) {
  const Folder folder;
  auto r = recipe(folder);
  r.set("train.learning_rate", 1e6);
  r.set("train.warm_up", 0.0);
  r.set("train.optimizer", "sgd");
  r.set("train.clip", 0.0);
  try {
    train(r, {.out = folder.path() / "model"});
    FAIL() << "expected a DataError";
  } catch (const DataError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("step "), std::string::npos) << what;
    EXPECT_NE(what.find("largest gradient"), std::string::npos) << what;
    EXPECT_NE(what.find("train.learning_rate"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace fovea::train
