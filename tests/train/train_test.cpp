#include "fovea/train/train.hpp"

#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/tasks/model.hpp"
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

TEST(Train, ALanguageModelLearnsToCount) {
  for (const char* kind : {"attention", "lstm"}) {
    SCOPED_TRACE(kind);
    const Folder folder;
    std::string text;
    for (int i = 0; i < 300; ++i) text += "abcdefgh";
    test::write_file(folder.path() / "text.txt", text);
    auto r = formats::Recipe::parse("task = \"language-model\"", "recipe.toml");
    r.set("data.file", (folder.path() / "text.txt").string());
    r.set("model.kind", kind);
    r.set("model.width", int64_t{32});
    r.set("model.layers", int64_t{1});
    r.set("model.context", int64_t{16});
    r.set("train.steps", int64_t{80});
    r.set("train.batch_tokens", int64_t{128});
    r.set("train.learning_rate", 0.02);
    const auto result = train(r, {.out = folder.path() / "model"});
    // Only the first character of a window cannot be known: ln 8 / 16 = 0.13 nats in the mean.
    EXPECT_LT(result.valid.figure("loss"), 0.2);
    const auto model = Model::load(result.folder);
    EXPECT_EQ(model.generate("abc", {.max_tokens = 5, .sampler = {.temperature = 0}}), "defgh");
    EXPECT_THROW(model.predict("abc"), ArgumentError);
  }
}

TEST(Train, AnEmptyFileAndAnUnknownClassSayWhatToDo) {
  const Folder folder;
  auto r = recipe(folder);
  test::write_file(folder.path() / "test.csv", "text,label\none apple,fruit\na b,mineral\n");
  r.set("data.train", (folder.path() / "data.csv").string());
  r.set("data.file", "");
  r.set("data.test", (folder.path() / "test.csv").string());
  r.set("model.kind", "linear");
  const auto message = [&] {
    try {
      train(r, {.out = folder.path() / "model", .overwrite = true});
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_NE(
      message().find("test.csv:3: expected one of the 3 classes of the training rows, found \"mineral\""),
      std::string::npos)
      << message();
  test::write_file(folder.path() / "test.csv", "");
  EXPECT_NE(message().find("test.csv"), std::string::npos) << message();
}

TEST(Train, AClassWithOneExampleTrains) {
  const Folder folder;
  auto r = recipe(folder);
  test::write_file(folder.path() / "data.csv", test::example_csv(60) + "a stone,mineral\n");
  r.set("model.kind", "linear");
  const auto result = train(r, {.out = folder.path() / "model"});
  EXPECT_EQ(Model::load(result.folder).labels(),
            (std::vector<std::string>{"fruit", "machine", "mineral", "music"}));
}

}  // namespace
}  // namespace fovea::train
