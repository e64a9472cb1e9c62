// A run that is stopped or killed at any moment ends with the same bits as one that was not.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/train/train.hpp"
#include "tests/train/support.hpp"

namespace fovea::train {
namespace {

using test::Folder;

formats::Recipe small_recipe(const std::filesystem::path& folder) {
  auto r = formats::Recipe::parse("task = \"text-classification\"", "recipe.toml");
  r.set("data.file", (folder / "data.csv").string());
  r.set("tokenizer.kind", "unigram");
  r.set("tokenizer.vocab_size", int64_t{60});
  r.set("tokenizer.sampling", 0.3);  // another segmentation each epoch: its random numbers must come back too
  r.set("model.width", int64_t{16});
  r.set("model.heads", int64_t{2});
  r.set("model.layers", int64_t{1});
  r.set("model.ngrams", int64_t{2});
  r.set("train.epochs", int64_t{4});
  r.set("train.batch_tokens", int64_t{60});
  r.set("train.accumulate", int64_t{2});
  r.set("train.average", 0.9);
  r.set("train.learning_rate", 0.01);
  r.set("train.validate_every", int64_t{20});
  r.set("train.checkpoint_every", int64_t{7});
  return r;
}

std::string weights(const std::filesystem::path& model) {
  return formats::read_file(model / "model.safetensors");
}

// What the killed process runs; started by the test below with its folder in the environment.
TEST(Resume, DISABLED_Child) {
  const char* folder = std::getenv("FOVEA_TEST_FOLDER");
  ASSERT_NE(folder, nullptr);
  set_num_threads(1);
  const std::filesystem::path path(folder);
  // A run killed before its first file has left nothing to resume.
  const bool begun = std::filesystem::exists(path / "killed" / "checkpoint") ||
                     std::filesystem::exists(path / "killed" / "manifest.json");
  train(small_recipe(path), {.out = path / "killed", .resume = begun});
}

enum class Child { kFinished, kKilled, kFailed };

// Runs the child; kills it after `delay` unless it ends before.
Child run_child(const std::filesystem::path& folder, std::chrono::microseconds delay) {
  ::setenv("FOVEA_TEST_FOLDER", folder.c_str(), 1);
  const auto self = std::filesystem::read_symlink("/proc/self/exe").string();
  std::string filter = "--gtest_filter=Resume.DISABLED_Child", disabled = "--gtest_also_run_disabled_tests",
              name = self;
  char* arguments[] = {name.data(), filter.data(), disabled.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", 1 /* O_WRONLY */, 0);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, self.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Child::kFailed;
  const auto end = std::chrono::steady_clock::now() + delay;
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() >= end) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return Child::kKilled;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? Child::kFinished : Child::kFailed;
}

TEST(Resume, KilledTwentyTimesEndsWithTheSameBits) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(200));
  const auto whole = train(small_recipe(folder.path()), {.out = folder.path() / "whole"});
  const auto started = std::chrono::steady_clock::now();
  const Folder other;  // a dry run tells how long the child takes
  test::write_file(other.path() / "data.csv", test::example_csv(200));
  ASSERT_EQ(run_child(other.path(), std::chrono::minutes(2)), Child::kFinished);
  const auto full =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - started);
  const auto killed = folder.path() / "killed";
  int kills = 0, resumed = 0;
  Random random(11);
  // A run that was resumed is shorter, so that some finish before their moment comes. The last one finishes.
  for (int run = 0; kills < 20; ++run) {
    ASSERT_LT(run, 200) << "only " << kills << " runs were killed";
    const bool continues = std::filesystem::exists(killed / "checkpoint" / "last.safetensors");
    const auto delay = std::chrono::microseconds(random.below(static_cast<uint64_t>(full.count())));
    const Child ended = run_child(folder.path(), delay);
    ASSERT_NE(ended, Child::kFailed) << "run " << run << ", after " << kills << " kills";
    if (ended == Child::kKilled) {
      ++kills;
      resumed += continues;
      continue;
    }
    // It finished: take the model away, so that there is something left to kill.
    EXPECT_EQ(weights(killed), weights(whole.folder)) << "run " << run;
    std::filesystem::remove_all(killed);
  }
  ASSERT_EQ(run_child(folder.path(), std::chrono::minutes(2)), Child::kFinished);
  EXPECT_EQ(weights(killed), weights(whole.folder));
  EXPECT_GE(resumed, 3) << "too few kills fell into runs that continued from a checkpoint";
}

class StopAfter final : public ProgressSink {
 public:
  explicit StopAfter(int64_t step) : step_(step) {}
  void progress(const ProgressEvent& event) override { done_ = event.done; }
  bool stop_requested() override { return done_ >= step_; }

 private:
  int64_t step_, done_ = 0;
};

TEST(Resume, StoppedSaysHowToContinueAndDoes) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(200));
  const auto r = small_recipe(folder.path());
  const auto whole = train(r, {.out = folder.path() / "whole"});
  StopAfter stop(9);
  try {
    train(r, {.out = folder.path() / "stopped", .progress = &stop});
    FAIL() << "expected Interrupted";
  } catch (const Interrupted& stopped) {
    EXPECT_NE(std::string(stopped.what()).find("--resume"), std::string::npos) << stopped.what();
  }
  // From the recipe that the folder holds, as the command line does.
  const auto again = train(formats::Recipe::load(folder.path() / "stopped" / "recipe.toml"),
                           {.out = folder.path() / "stopped", .resume = true});
  EXPECT_EQ(weights(again.folder), weights(whole.folder));
  EXPECT_EQ(again.steps, whole.steps);
}

// In bf16 too, on another number of threads; and the weights differ from those of float32, or the recipe's
// precision did nothing.
TEST(Resume, InBf16ContinuesToTheBitOnAnyNumberOfThreads) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(200));
  auto r = small_recipe(folder.path());
  const auto wide = train(r, {.out = folder.path() / "float32"});
  r.set("train.precision", "bf16");
  r.set("model.dropout", 0.1);
  const auto whole = train(r, {.out = folder.path() / "whole"});
  EXPECT_NE(weights(whole.folder), weights(wide.folder));
  StopAfter stop(9);
  EXPECT_THROW(train(r, {.out = folder.path() / "stopped", .progress = &stop}), Interrupted);
  const int threads = get_num_threads();
  set_num_threads(3);
  const auto again = train(r, {.out = folder.path() / "stopped", .resume = true});
  set_num_threads(threads);
  EXPECT_EQ(weights(again.folder), weights(whole.folder));
}

TEST(Resume, ADamagedCheckpointIsRefused) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(200));
  const auto r = small_recipe(folder.path());
  StopAfter stop(9);
  EXPECT_THROW(train(r, {.out = folder.path() / "model", .progress = &stop}), Interrupted);
  const auto file = folder.path() / "model" / "checkpoint" / "last.safetensors";
  const std::string good = formats::read_file(file);
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 1);
  for (const auto& bytes : {flipped, good.substr(0, good.size() - 100), std::string()}) {
    test::write_file(file, bytes);
    try {
      train(r, {.out = folder.path() / "model", .resume = true});
      ADD_FAILURE() << "a checkpoint of " << bytes.size() << " bytes was taken";
    } catch (const DataError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("last.safetensors"), std::string::npos) << message;
      EXPECT_NE(message.find("begin anew with --overwrite"), std::string::npos) << message;
    }
  }
}

TEST(Resume, AFullDiskKeepsTheCheckpointBefore) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(200));
  const auto r = small_recipe(folder.path());
  const auto whole = train(r, {.out = folder.path() / "whole"});
  StopAfter stop(9);
  EXPECT_THROW(train(r, {.out = folder.path() / "model", .progress = &stop}), Interrupted);
  // No file may grow beyond 4 KB from here on, as on a disk without room.
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    train(r, {.out = folder.path() / "model", .resume = true});
  } catch (const DataError& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, SIG_DFL);
  EXPECT_NE(message.find("model"), std::string::npos) << message;
  const auto again = train(r, {.out = folder.path() / "model", .resume = true});
  EXPECT_EQ(weights(again.folder), weights(whole.folder));
}

TEST(Train, AnyNumberOfThreadsGivesTheSameBits) {
  const Folder folder;
  test::write_file(folder.path() / "data.csv", test::example_csv(200));
  const auto r = small_recipe(folder.path());
  const int threads = get_num_threads();
  std::string first;
  for (const int n : {1, 2, 3, 8}) {
    set_num_threads(n);
    const auto result = train(r, {.out = folder.path() / ("model" + std::to_string(n))});
    if (first.empty()) first = weights(result.folder);
    EXPECT_EQ(weights(result.folder), first) << n << " threads";
  }
  set_num_threads(threads);
}

}  // namespace
}  // namespace fovea::train
