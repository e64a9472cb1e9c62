// The first Ctrl-C or SIGTERM ends every command at any moment, with one line and exit code 130.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fovea/base/random.hpp"
#include "tests/support/child_process.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"
#include "train/run_folder.hpp"

namespace fovea {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

constexpr const char* kTool = FOVEA_BINARY_DIR "/bin/fovea";
constexpr double kAtOnce = 10.0;  // seconds: what a busy machine may need

class Interrupts : public testing::Test {
 protected:
  void SetUp() override {
    std::string rows = "text,label\n";
    for (int i = 0; i < 400; ++i) {
      rows += i % 2 == 0 ? "a sweet red apple number " : "a grey hard stone number ";
      rows += std::to_string(i) + (i % 2 == 0 ? ",fruit\n" : ",rock\n");
    }
    table_ = folder_.write("fruit.csv", rows);
    fifo_ = (folder_.path() / "fifo.csv").string();
    ASSERT_EQ(mkfifo(fifo_.c_str(), 0600), 0);
    model_ = (folder_.path() / "model").string();
    text_model_ = (folder_.path() / "text").string();
    run("train --task text-classification --data " + table_ + " --target label --out " + model_ + kSmall +
        " --set train.epochs=2");
    run("train --task language-model --data " + table_ + " --out " + text_model_ +
        " --threads 1 --quiet --set tokenizer.kind=characters --set model.width=16 --set model.layers=1"
        " --set model.heads=2 --set model.context=32 --set train.steps=5");
  }
  void run(const std::string& arguments) {
    const CommandResult result = run_command(std::string(kTool) + " " + arguments);
    ASSERT_EQ(result.code, 0) << arguments << ": " << result.err;
  }
  std::filesystem::path errors() const { return folder_.path() / "errors"; }

  static constexpr const char* kSmall =
      " --quiet --set tokenizer.kind=words --set model.width=16 --set model.layers=1"
      " --set train.batch_tokens=128 --set train.log_every=1";
  TemporaryFolder folder_;
  std::string table_, fifo_, model_, text_model_;
};

TEST_F(Interrupts, EndEveryCommandThatWaitsForInput) {
  const std::string train = "train --task text-classification --target label --out " +
                            (folder_.path() / "new").string() + kSmall + " --data ";
  for (const std::string& command :
       {"predict " + model_ + " -", "predict " + model_ + " " + fifo_, "explain " + model_ + " -",
        "explain " + model_ + " " + fifo_, "generate " + text_model_ + " --prompt -",
        "evaluate " + model_ + " --data " + fifo_, "data check " + fifo_, train + fifo_}) {
    for (const int signal : {SIGINT, SIGTERM}) {
      ChildProcess child(kTool, command, errors());
      child.wait_for_handler(signal);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      child.send(signal);
      EXPECT_EQ(child.wait(kAtOnce), 130) << command << ", signal " << signal << ": " << child.error();
      EXPECT_THAT(child.error(), EndsWith("fovea: stopped\n")) << command << ", signal " << signal;
    }
  }
}

TEST_F(Interrupts, EndEveryCommandThatWorks) {
  Random random(1);
  for (const std::string& command :
       {"predict " + model_ + " " + table_, "explain " + model_ + " --test",
        "explain " + model_ + " " + table_ + " --report " + (folder_.path() / "page.html").string(),
        "evaluate " + model_, "generate " + text_model_ + " --tokens 100000", "data check " + table_}) {
    for (int time = 0; time < 8; ++time) {
      const int signal = time % 2 == 0 ? SIGINT : SIGTERM;
      ChildProcess child(kTool, command, errors());
      child.wait_for_handler(signal);
      std::this_thread::sleep_for(std::chrono::duration<double>(0.05 * random.uniform()));
      child.send(signal);
      const int code = child.wait(kAtOnce);
      if (code == 0) continue;  // it was done before
      EXPECT_EQ(code, 130) << command << ": " << child.error();
      EXPECT_THAT(child.error(), EndsWith("fovea: stopped\n")) << command;
    }
  }
}

TEST_F(Interrupts, OfATrainingLoseNothingAtAnyMoment) {
  const auto command = [&](const std::string& out) {
    return "train --task text-classification --data " + table_ + " --target label --out " +
           (folder_.path() / out).string() + kSmall + " --set train.epochs=20";
  };
  run(command("whole"));
  Random random(2);
  const auto begun = [&] { return train::in_use(folder_.path() / "stopped"); };
  for (int time = 0; time < 25; ++time) {
    const int signal = time % 2 == 0 ? SIGINT : SIGTERM;
    ChildProcess child(kTool, command("stopped") + (begun() ? " --resume" : ""), errors());
    child.wait_for_handler(signal);
    std::this_thread::sleep_for(std::chrono::duration<double>(0.15 * random.uniform()));
    child.send(signal);
    const int code = child.wait(kAtOnce);
    if (code == 0) break;  // it was done before
    ASSERT_EQ(code, 130) << child.error();
    const std::string error = child.error();
    ASSERT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  }
  run(command("stopped") + (begun() ? " --resume" : ""));
  EXPECT_EQ(folder_.read("stopped/model.safetensors"), folder_.read("whole/model.safetensors"));
}

}  // namespace
}  // namespace fovea
