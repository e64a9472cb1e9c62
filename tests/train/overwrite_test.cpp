// A model that is being replaced is whole at every moment: its run is killed, or its disk fills up, at each
// single change of a file.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/tasks/model.hpp"
#include "fovea/train/compare.hpp"
#include "fovea/train/train.hpp"
#include "tests/support/file_faults.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;
using test::Folder;
using testing::HasSubstr;

constexpr const char* kText = "one small violin of the engine";

formats::Recipe recipe_of(const fs::path& folder, const std::string& kind) {
  auto r = formats::Recipe::parse("task = \"text-classification\"", "recipe.toml");
  r.set("data.file", (folder / "data.csv").string());
  r.set("model.kind", kind);
  r.set("tokenizer.kind", "words");
  r.set("model.width", int64_t{8});
  r.set("model.heads", int64_t{2});
  r.set("model.layers", int64_t{1});
  r.set("train.epochs", int64_t{1});
  r.set("linear.epochs", int64_t{1});
  return r;
}

std::vector<float> answer(const fs::path& model) {
  return Model::load(model).predict(kText).probabilities;
}

// Replaces folder/model by a model of the kind; started by the tests below.
TEST(Overwrite, DISABLED_Child) {
  set_num_threads(1);
  const fs::path folder(std::getenv("FOVEA_TEST_FOLDER"));
  const auto recipe = recipe_of(folder, std::getenv("FOVEA_TEST_KIND"));
  g_changes_left = std::atoll(std::getenv("FOVEA_TEST_CHANGES"));
  g_fault = std::string(std::getenv("FOVEA_TEST_FAULT")) == "kill" ? Fault::kKill : Fault::kDiskFull;
  std::string message;
  try {
    train(recipe, {.out = folder / "model", .overwrite = true});
  } catch (const DataError& error) {
    message = error.what();
  }
  g_fault = Fault::kNone;
  if (!message.empty()) {
    EXPECT_THAT(message, HasSubstr("model"));
    EXPECT_THAT(message, HasSubstr("No space left on device"));
    std::_Exit(HasFailure() ? 1 : 3);
  }
}

enum class Ended { kFinished, kKilled, kRefused, kFailed };

Ended run_child(const fs::path& folder, const std::string& kind, const std::string& fault, int64_t changes) {
  ::setenv("FOVEA_TEST_FOLDER", folder.c_str(), 1);
  ::setenv("FOVEA_TEST_KIND", kind.c_str(), 1);
  ::setenv("FOVEA_TEST_FAULT", fault.c_str(), 1);
  ::setenv("FOVEA_TEST_CHANGES", std::to_string(changes).c_str(), 1);
  std::string self = fs::read_symlink("/proc/self/exe").string(),
              filter = "--gtest_filter=Overwrite.DISABLED_Child",
              disabled = "--gtest_also_run_disabled_tests";
  char* arguments[] = {self.data(), filter.data(), disabled.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, (folder / "child.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0644);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, self.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Ended::kFailed;
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGKILL ? Ended::kKilled : Ended::kFailed;
  return WEXITSTATUS(status) == 0   ? Ended::kFinished
         : WEXITSTATUS(status) == 3 ? Ended::kRefused
                                    : Ended::kFailed;
}

void interrupt_at_every_change(const std::string& old_kind, const std::string& new_kind,
                               const std::string& fault) {
  const Folder folder;
  const fs::path data = folder.path() / "data.csv", saved = folder.path() / "saved",
                 model = folder.path() / "model";
  test::write_file(data, test::example_csv(60));
  train(recipe_of(folder.path(), old_kind), {.out = saved});
  const auto old_answer = answer(saved);
  const auto new_answer =
      answer(train(recipe_of(folder.path(), new_kind), {.out = folder.path() / "new"}).folder);
  ASSERT_NE(old_answer, new_answer);
  int64_t interrupted = 0, left_old = 0, left_new = 0;
  for (int64_t changes = 0;; ++changes) {
    ASSERT_LT(changes, 500);
    fs::remove_all(model);
    fs::copy(saved, model, fs::copy_options::recursive);
    const Ended ended = run_child(folder.path(), new_kind, fault, changes);
    ASSERT_NE(ended, Ended::kFailed) << "after " << changes << " changes; see child.log";
    const auto now = answer(model);
    EXPECT_TRUE(now == old_answer || now == new_answer) << "after " << changes << " changes";
    EXPECT_TRUE(Model::load(model).verified()) << "after " << changes << " changes";
    (now == old_answer ? left_old : left_new) += 1;
    if (ended == Ended::kFinished) break;
    ++interrupted;
    // Whatever was left, the next run takes its place and leaves nothing behind.
    if (changes % 5 == 0) {
      EXPECT_EQ(answer(train(recipe_of(folder.path(), new_kind), {.out = model, .overwrite = true}).folder),
                new_answer);
      for (const char* name : {"next", "checkpoint", ".replaced", ".lock"})
        EXPECT_FALSE(fs::exists(model / name)) << name << " after " << changes << " changes";
    }
  }
  EXPECT_GT(interrupted, 20);
  EXPECT_GT(left_old, 5);
  // A full disk stops the run before the new model is whole, or in its last steps; a kill also after it.
  if (fault == "kill") {
    EXPECT_GT(left_new, 3);
  }
  EXPECT_EQ(answer(model), new_answer);
}

TEST(Overwrite, KilledAtAnyChangeLeavesTheOldModelOrTheNewOne) {
  interrupt_at_every_change("attention", "linear", "kill");
}
TEST(Overwrite, KilledAtAnyChangeOfAModelOfTheSameKindToo) {
  interrupt_at_every_change("majority", "attention", "kill");
}
TEST(Overwrite, AFullDiskAtAnyChangeLeavesTheOldModelOrTheNewOne) {
  interrupt_at_every_change("linear", "attention", "full");
}

TEST(Overwrite, AMistakeLeavesTheOldModelAsItWas) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(60));
  const auto good = recipe_of(folder.path(), "linear");
  const fs::path out = train(good, {.out = folder.path() / "model"}).folder;
  const std::string before = formats::manifest_text(out);
  const auto refused = [&](const char* key, const std::string& value) {
    auto r = good;
    r.set(key, value);
    EXPECT_ANY_THROW(train(r, {.out = out, .overwrite = true})) << key;
    EXPECT_EQ(formats::verify_files(out), formats::Integrity::kVerified) << key;
    EXPECT_EQ(formats::manifest_text(out), before) << key;
  };
  refused("data.target", "nope");
  refused("data.file", "missing.csv");
  refused("data.split", "sideways");
  refused("model.widht", "7");
}

class StopAtOnce final : public ProgressSink {
 public:
  void progress(const ProgressEvent&) override {}
  bool stop_requested() override { return true; }
};

TEST(Overwrite, StoppedLeavesTheOldModelAndResumesToTheNewOne) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(60));
  const fs::path out = train(recipe_of(folder.path(), "linear"), {.out = folder.path() / "model"}).folder;
  const auto old_answer = answer(out);
  auto r = recipe_of(folder.path(), "attention");
  r.set("train.batch_tokens", int64_t{50});
  const auto new_answer = answer(train(r, {.out = folder.path() / "whole"}).folder);
  StopAtOnce stop;
  EXPECT_THROW(train(r, {.out = out, .overwrite = true, .progress = &stop}), Interrupted);
  EXPECT_EQ(answer(out), old_answer);
  EXPECT_THROW(train(r, {.out = out}), ArgumentError);
  EXPECT_EQ(answer(train(r, {.out = out, .resume = true}).folder), new_answer);
  EXPECT_FALSE(fs::exists(out / "next"));
}

TEST(Overwrite, AMistakeInOneKindOfAComparisonCostsNoModel) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(60));
  auto r = recipe_of(folder.path(), "linear");
  const std::array kinds = {models::ModelKind::kLinear, models::ModelKind::kAttention};
  const fs::path out = folder.path() / "models";
  compare(r, kinds, {.out = out});
  const std::string before = formats::manifest_text(out / "linear");
  r.set("kinds.attention.model.heads", int64_t{3});
  EXPECT_THROW(compare(r, kinds, {.out = out, .overwrite = true}), DataError);
  EXPECT_EQ(formats::manifest_text(out / "linear"), before);
  EXPECT_NO_THROW(Model::load(out / "attention"));
}

}  // namespace
}  // namespace fovea::train
