// A language model as the end of a pipe: a continuation for each prompt, in order, as they come; and what it
// is told of a text that it looks into.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/conversation.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kTool = "OMP_WAIT_POLICY=passive " FOVEA_BINARY_DIR "/bin/fovea ";

class Prompts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    std::string text;
    for (int i = 0; i < 100; ++i) text += "to be\nor not to be\n";
    const CommandResult r = run_command(
        kTool + "train --task language-model --data " + folder_->write("t.txt", text) + " --out " + model() +
        " --set tokenizer.kind=words --set model.layers=1 --set model.width=16 --set model.heads=2 --set "
        "model.context=8 --set train.epochs=1 --quiet");
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

TEST_F(Prompts, EachIsContinuedBeforeTheNextIsWritten) {
  for (const std::string input : {" -", " --prompt -"}) {
    Conversation lines(kTool + "generate " + model() + input + " --tokens 3");
    Conversation json(kTool + "generate " + model() + input + " --tokens 3 --json");
    for (const std::string prompt : {"to be", "", "or not"}) {
      lines.write(prompt + "\n");
      EXPECT_THAT(lines.line(), StartsWith(prompt));
      json.write(prompt + "\n");
      const auto answer = nlohmann::json::parse(json.line());
      EXPECT_EQ(answer.at("prompt"), prompt);
      EXPECT_EQ(answer.at("seed"), 1);
    }
    lines.close_input();
    EXPECT_EQ(lines.line(), "(nothing)");
  }
}

TEST_F(Prompts, EachHasOneLineAndTheTextThatItHasAlone) {
  const std::string options = " --tokens 12 --seed 4 --json";
  const CommandResult all = piped("to be\nnot\n", "generate " + model() + " -" + options);
  ASSERT_EQ(all.code, 0) << all.err;
  std::istringstream lines(all.out);
  for (const std::string prompt : {"to be", "not"}) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_EQ(line + "\n",
              run_command(kTool + "generate " + model() + " --prompt '" + prompt + "'" + options).out);
  }
  const CommandResult words = piped("to be\n\nnot\n", "generate " + model() + " - --tokens 40");
  EXPECT_EQ(lines_in(words.out), 3) << "line breaks of a text are shown: " << words.out;
}

TEST_F(Prompts, ComeFromTablesToo) {
  const std::string file = folder_->write("p.csv", "id,start\n1,to be\n2,\"or, not\"\n");
  const CommandResult r =
      run_command(kTool + "generate " + model() + " " + file + " --column start --tokens 2 --json");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(lines_in(r.out), 2);
  EXPECT_THAT(r.out, HasSubstr("\"prompt\":\"or, not\""));
  EXPECT_THAT(r.err, HasSubstr("p.csv: 2 rows, csv with ',', header"));
  EXPECT_EQ(run_command(kTool + "generate " + model() + " " + file + " --prompt x").code, 2);
}

TEST_F(Prompts, AnEndlessLineIsRefused) {
  const CommandResult r = run_command("timeout 60 env " + kTool + "generate " + model() + " - < /dev/zero");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("standard input"));
}

// Words that the vocabulary lacks are read as <unk>; as a guess it would say nothing.
TEST_F(Prompts, UnknownIsNeverAGuess) {
  const std::string page = (folder_->path() / "page.html").string();
  const CommandResult r =
      piped("zebra zebra zebra zebra\nto be zebra\n", "explain " + model() + " - --json --report " + page);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(lines_in(r.out), 2);
  EXPECT_THAT(r.out, Not(HasSubstr("<unk>")));
  EXPECT_THAT(folder_->read("page.html"), Not(HasSubstr("unk>")));
}

TEST_F(Prompts, TextsBeyondTheContextAreCounted) {
  const CommandResult r =
      piped("to be\nto be or not to be or not to be or not to be\n", "explain " + model() + " -");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("warning: 1 text is longer than the 8 tokens that the model reads"));
  EXPECT_THAT(piped("to be\n", "explain " + model() + " -").err, Not(HasSubstr("longer")));
}

}  // namespace
}  // namespace fovea
