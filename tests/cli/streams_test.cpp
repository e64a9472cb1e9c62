// Standard input as a conversation: an answer for each line, in order, while the pipe stays open.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/model_folder.hpp"
#include "tests/support/conversation.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kTool = FOVEA_BINARY_DIR "/bin/fovea ";

class Streams : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    std::string table = "text,label\n";
    for (int i = 0; i < 40; ++i) {
      table +=
          (i % 2 == 0 ? "good film " : "bad film ") + std::to_string(i) + (i % 2 == 0 ? ",pos\n" : ",neg\n");
    }
    const CommandResult r = run_command(
        kTool + "train --task text-classification --set model.kind=linear --set linear.epochs=3 --data " +
        folder_->write("a.csv", table) + " --target label --out " + model());
    ASSERT_EQ(r.code, 0) << r.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string model() { return (folder_->path() / "model").string(); }
  static CommandResult piped(const std::string& bytes, const std::string& arguments) {
    return run_command(kTool + arguments + " < " + folder_->write("input", bytes));
  }
  static int64_t lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }
  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(Streams, EachLineIsAnsweredBeforeTheNextIsWritten) {
  for (const std::string verb : {"predict ", "explain "}) {
    for (const std::string json : {"", " --json"}) {
      Conversation child(kTool + verb + model() + " -" + json);
      for (const std::string text : {"good film", "bad film", "", "good one"}) {
        child.write(text + "\n");
        const std::string answer = child.line();
        ASSERT_NE(answer, "(nothing)") << verb << json;
        EXPECT_THAT(answer, HasSubstr(text)) << verb << json;
        if (json.empty()) continue;
        EXPECT_EQ(nlohmann::json::parse(answer).at("text"), text);
      }
      child.write("bad without an end");
      child.close_input();
      EXPECT_THAT(child.line(), HasSubstr("bad without an end"));
      EXPECT_EQ(child.line(), "(nothing)");
    }
  }
}

TEST_F(Streams, RecordsOfEveryFormatAreAnsweredAsTheyCome) {
  for (const std::string verb : {"predict ", "explain "}) {
    Conversation json(kTool + verb + model() + " - --json --format jsonl");
    json.write("{\"text\":\"good film\"}\n");
    EXPECT_THAT(json.line(), HasSubstr("\"text\":\"good film\""));
    Conversation csv(kTool + verb + model() + " - --json --format csv --delimiter ';'");
    csv.write("id;text\n7;bad film\n");
    EXPECT_THAT(csv.line(), HasSubstr("\"text\":\"bad film\""));
    Conversation column(kTool + verb + model() + " - --json --format csv --header yes --column review");
    column.write("id,review\n7,\"bad, long\nfilm\"\n");
    EXPECT_THAT(column.line(), HasSubstr("\"text\":\"bad, long\\nfilm\""));
  }
}

TEST_F(Streams, ManyLinesComeBackInOrder) {
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes += i % 7 == 0 ? "\n" : "good film " + std::to_string(i) + "\n";
  const CommandResult r = piped(bytes, "predict " + model() + " - --json");
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.out);
  std::string line;
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_EQ(nlohmann::json::parse(line).at("text"), i % 7 == 0 ? "" : "good film " + std::to_string(i));
  }
  EXPECT_EQ(lines_in(r.out), 5000);
}

// What has come is taken together, so that a long pipe costs no more than a file.
TEST(StreamBatches, PlentifulInputIsAnsweredInLargeOnes) {
  class Quiet final : public LogSink {
   public:
    void log(LogLevel, std::string_view) override {}
  } quiet;
  const TemporaryFolder folder;
  std::string bytes;
  for (int i = 0; i < 2000; ++i) bytes += "good film " + std::to_string(i) + "\n";
  const int before = ::dup(STDIN_FILENO);
  const int file = ::open(folder.write("lines", bytes).c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  ::dup2(file, STDIN_FILENO);
  int64_t batches = 0, texts = 0;
  cli::for_each_text({.file = "-", .column = "", .usual = "text", .target = "", .options = {}}, 256, quiet,
                     [&](const cli::TextBatch& batch) {
                       ++batches;
                       texts += std::ssize(batch.texts);
                       return true;
                     });
  ::dup2(before, STDIN_FILENO);
  ::close(before);
  ::close(file);
  EXPECT_EQ(texts, 2000);
  EXPECT_EQ(batches, 8) << "seven of 256, and the rest";
}

TEST_F(Streams, ExplainAnswersAllOfStandardInputOrItsLimit) {
  std::string bytes;
  for (int i = 0; i < 25; ++i) bytes += "good film\n";
  EXPECT_EQ(lines_in(piped(bytes, "explain " + model() + " -").out), 25);
  EXPECT_EQ(lines_in(piped(bytes, "explain " + model() + " - --limit 3").out), 3);
  EXPECT_EQ(
      lines_in(
          run_command("yes good film | timeout 60 env " + kTool + "explain " + model() + " - --limit 3").out),
      3);
}

TEST_F(Streams, ExplainTakesTheTrueClassesOfStandardInput) {
  EXPECT_THAT(piped("text,label\ngood film,pos\n", "explain " + model() + " - --format csv --json").out,
              HasSubstr("\"truth\":\"pos\""));
}

TEST_F(Streams, LinesBeforeAMistakeAreAnswered) {
  for (const std::string verb : {"predict ", "explain "}) {
    const CommandResult r =
        piped("{\"text\":\"good film\"}\n{\"text\":\n", verb + model() + " - --format jsonl --json");
    EXPECT_EQ(r.code, 1);
    EXPECT_EQ(lines_in(r.out), 1) << r.out;
    EXPECT_THAT(r.err, HasSubstr("standard input:2:"));
  }
}

TEST_F(Streams, OddBytesAreAnsweredOrRefusedWithTheirLine) {
  for (const std::string verb : {"predict ", "explain "}) {
    const CommandResult invalid = piped("good\nbad \xff\xfe film\n", verb + model() + " - --json");
    EXPECT_EQ(invalid.code, 0) << invalid.err;
    EXPECT_EQ(lines_in(invalid.out), 2);
    const CommandResult zero = piped(std::string("good\nbad \0 film\n", 16), verb + model() + " - --json");
    EXPECT_THAT(zero.code == 0 ? zero.out : zero.err,
                HasSubstr(zero.code == 0 ? "bad \\u0000 film" : "standard input:2:"));
    const CommandResult large =
        piped("good\n" + std::string(size_t{17} << 20, 'a') + "\n", verb + model() + " - --json");
    EXPECT_THAT(large.code == 0 ? "standard input:2:" : large.err, HasSubstr("standard input:2:"));
    EXPECT_EQ(lines_in(large.out), large.code == 0 ? 2 : 1);
  }
}

TEST_F(Streams, AClosedOutputEndsQuietly) {
  for (const std::string verb : {"predict ", "explain "}) {
    for (const std::string trap : {"", "trap '' PIPE; "}) {
      const CommandResult r =
          run_command(trap + "yes good film | head -20000 | " + kTool + verb + model() + " - | head -1");
      EXPECT_EQ(lines_in(r.out), 1);
      EXPECT_THAT(r.err, Not(HasSubstr("fovea"))) << verb << trap;
    }
  }
}

TEST_F(Streams, AFullDeviceIsAnError) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  for (const std::string& call :
       {"predict " + model() + " -", "explain " + model() + " -", std::string("info")}) {
    const CommandResult r = run_command("echo good | " + kTool + call + " > /dev/full");
    EXPECT_EQ(r.code, 1) << call;
    EXPECT_THAT(r.err, HasSubstr("standard output: expected to write the result")) << call;
  }
}

TEST_F(Streams, HelpSaysJsonLines) {
  EXPECT_THAT(run_command(kTool + "predict --help").out, HasSubstr("JSON Lines"));
  EXPECT_THAT(run_command(kTool + "explain --help").out, HasSubstr("JSON Lines"));
}

}  // namespace
}  // namespace fovea
