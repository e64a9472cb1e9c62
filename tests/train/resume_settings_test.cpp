// What may and what may not change between a run and its continuation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/train/compare.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using test::Folder;
using testing::HasSubstr;

class Steps final : public ProgressSink {
 public:
  explicit Steps(int64_t stop_after = -1) : stop_after_(stop_after) {}
  void progress(const ProgressEvent& event) override { done = event.done; }
  bool stop_requested() override { return stop_after_ >= 0 && done >= stop_after_; }
  int64_t done = 0;

 private:
  int64_t stop_after_;
};

class ResumeSettings : public testing::Test {
 protected:
  formats::Recipe recipe() { return test::recipe(folder_, "", 200); }
  std::string weights() { return formats::read_file(out_ / "model.safetensors"); }
  // The message of resuming with one other setting.
  std::string refusal(const formats::Recipe& r) {
    try {
      train(r, {.out = out_, .resume = true});
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  }
  Folder folder_;
  fs::path out_ = folder_.path() / "model";
};

TEST_F(ResumeSettings, AFinishedRunIsEvaluatedAndNothingOfItChanges) {
  for (const char* kind : {"attention", "linear"}) {
    auto r = recipe();
    r.set("model.kind", kind);
    const auto first = train(r, {.out = out_, .overwrite = true});
    const std::string manifest = formats::manifest_text(out_);
    Steps steps;
    const auto again = train(r, {.out = out_, .resume = true, .progress = &steps});
    EXPECT_EQ(steps.done, 0) << kind << " was trained";
    EXPECT_EQ(again.steps, first.steps);
    EXPECT_EQ(again.best_step, first.best_step);
    EXPECT_EQ(again.parameters, first.parameters);
    EXPECT_EQ(again.test.figure("accuracy"), first.test.figure("accuracy"));
    EXPECT_EQ(again.test.probabilities, first.test.probabilities);
    EXPECT_EQ(formats::manifest_text(out_), manifest);
    EXPECT_EQ(formats::verify_files(out_), formats::Integrity::kVerified);
    // From the recipe in the folder too.
    EXPECT_EQ(train(formats::Recipe::load(out_ / "recipe.toml"), {.out = out_, .resume = true}).steps,
              first.steps);
  }
}

TEST_F(ResumeSettings, EverySettingThatDiffersIsNamed) {
  train(recipe(), {.out = out_});
  const std::string before = weights();
  auto r = recipe();
  r.set("train.learning_rate", 3.0);
  r.set("seed", int64_t{9});
  r.set("train.epochs", int64_t{1});
  r.set("kinds.attention.model.width", int64_t{32});
  const std::string message = refusal(r);
  EXPECT_THAT(message, HasSubstr("train.learning_rate = 3.0 (it began with 0.01)"));
  EXPECT_THAT(message, HasSubstr("seed = 9 (it began with 1)"));
  EXPECT_THAT(message, HasSubstr("train.epochs = 1 (it began with 6)"));
  EXPECT_THAT(message, HasSubstr("kinds.attention.model.width = 32"));
  EXPECT_THAT(message, HasSubstr("recipe.toml --out " + out_.string() + " --resume"));
  EXPECT_EQ(weights(), before);
}

TEST_F(ResumeSettings, AStoppedRunIsHeldToItsSettingsToo) {
  Steps stop(5);
  EXPECT_THROW(train(recipe(), {.out = out_, .progress = &stop}), Interrupted);
  auto r = recipe();
  r.set("train.weight_decay", 0.5);
  EXPECT_THAT(refusal(r), HasSubstr("train.weight_decay"));
  auto harmless = recipe();
  harmless.set("train.log_every", int64_t{1});
  EXPECT_EQ(refusal(harmless), "no error");
}

TEST_F(ResumeSettings, DataThatChangedAreRefusedByName) {
  const auto r = recipe();
  const std::string csv = test::example_csv(200);
  for (const int64_t stop_after : {int64_t{5}, int64_t{-1}}) {
    fs::remove_all(out_);
    test::write_file(folder_.path() / "data.csv", csv);
    Steps stop(stop_after);
    try {
      train(r, {.out = out_, .progress = &stop});
    } catch (const Interrupted&) {
    }
    test::write_file(folder_.path() / "data.csv", "text,label\none apple,fruit\n" + csv.substr(11));
    EXPECT_THAT(refusal(r),
                HasSubstr("data.csv: expected the 200 rows that the model was made with, found 201, the "
                          "first other one is number 1 (line 2)"));
    std::string relabelled = csv;
    relabelled.replace(relabelled.find(",music"), 6, ",opera");  // another class name
    test::write_file(folder_.path() / "data.csv", relabelled);
    EXPECT_THAT(refusal(r), HasSubstr("data.csv: expected the 200 rows"));
  }
  // The same rows in another place, under another name.
  test::write_file(folder_.path() / "moved.csv", csv);
  auto moved = r;
  moved.set("data.file", (folder_.path() / "moved.csv").string());
  EXPECT_EQ(refusal(moved), "no error");
  moved.set("data.split_seed", int64_t{2});
  EXPECT_THAT(refusal(moved), HasSubstr("other settings: data.file, data.split_seed"));
}

// With a schedule that does not know the end, the longer run's bits; for a run that has finished and for one
// that was stopped.
TEST_F(ResumeSettings, MoreEpochsGoOnExactlyWhereTrainingEnded) {
  auto r = recipe();
  r.set("train.schedule", "constant");
  r.set("train.warm_up", 3.0);
  r.set("train.average", 0.9);
  r.set("model.dropout", 0.1);
  r.set("train.epochs", int64_t{5});
  const auto whole = train(r, {.out = folder_.path() / "whole"});
  auto shorter = r;
  shorter.set("train.epochs", int64_t{2});
  const auto two = train(shorter, {.out = out_});
  const std::string before = weights();
  Steps stop(two.steps + 3);
  EXPECT_THROW(train(r, {.out = out_, .resume = true, .progress = &stop}), Interrupted);
  EXPECT_EQ(weights(), before) << "the finished model was touched before its successor was whole";
  const auto five = train(r, {.out = out_, .resume = true});
  EXPECT_EQ(five.steps, whole.steps);
  EXPECT_EQ(weights(), formats::read_file(folder_.path() / "whole" / "model.safetensors"));
  fs::remove(out_ / "state.safetensors");
  EXPECT_EQ(formats::verify_files(out_), formats::Integrity::kVerified) << "the state may be deleted";
  r.set("train.epochs", int64_t{6});
  EXPECT_THAT(refusal(r), HasSubstr("state.safetensors"));
}

TEST_F(ResumeSettings, AFolderWithoutARunSaysSo) {
  const auto r = recipe();
  EXPECT_THAT(refusal(r), HasSubstr("which does not exist"));
  EXPECT_FALSE(fs::exists(out_));
  fs::create_directory(out_);
  EXPECT_THAT(refusal(r), HasSubstr("which is empty"));
  test::write_file(out_ / "notes.txt", "mine");
  EXPECT_THAT(refusal(r), HasSubstr("neither a model nor a checkpoint"));
}

TEST_F(ResumeSettings, AFolderInUseSaysWhatWouldHelp) {
  const auto message = [&] {
    try {
      train(recipe(), {.out = out_});
    } catch (const ArgumentError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  Steps stop(5);
  EXPECT_THROW(train(recipe(), {.out = out_, .progress = &stop}), Interrupted);
  EXPECT_THAT(message(), HasSubstr("a run that was stopped"));
  EXPECT_THAT(message(), HasSubstr("--resume to continue it"));
  train(recipe(), {.out = out_, .resume = true});
  EXPECT_THAT(message(), HasSubstr("a finished model"));
  EXPECT_THAT(message(), testing::Not(HasSubstr("--resume")));
}

TEST_F(ResumeSettings, AComparisonGoesOnWithTheKindThatWasStopped) {
  auto r = recipe();
  const std::array kinds = {models::ModelKind::kMajority, models::ModelKind::kCnn,
                            models::ModelKind::kLinear};
  Steps stop(5);
  EXPECT_THROW(compare(r, kinds, {.out = out_, .progress = &stop}), Interrupted);
  EXPECT_TRUE(fs::exists(out_ / "cnn" / "checkpoint"));
  EXPECT_EQ(compare(r, kinds, {.out = out_, .resume = true}).size(), 3U);
}

}  // namespace
}  // namespace fovea::train
