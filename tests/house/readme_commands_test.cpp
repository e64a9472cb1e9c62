// The command lines that README shows run as they stand, one after the other, in a folder that holds the
// files that they name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/house/source_tree.hpp"
#include "tests/support/run_command.hpp"

namespace fovea::house {
namespace {

std::vector<std::string> command_lines() {
  std::vector<std::string> lines;
  std::istringstream text(read_text(kRoot / "README.md"));
  std::string line;
  while (std::getline(text, line) && line != "## Command line") continue;
  while (std::getline(text, line) && line != "```") continue;
  while (std::getline(text, line) && line != "```") lines.push_back(line);
  return lines;
}

class Readme : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_ / "recipes");
    std::ofstream reviews(folder_ / "reviews.csv"), news(folder_ / "new.csv"), text(folder_ / "input.txt"),
        prompts(folder_ / "prompts.txt");
    reviews << "text,label\n";
    news << "text\n";
    for (int i = 0; i < 60; ++i) {
      reviews << (i % 2 ? "a lovely film " : "a dull book ") << i << (i % 2 ? ",good\n" : ",bad\n");
      text << "To be, or not to be, that is the question.\n";
      if (i < 3) news << "a lovely book " << i << "\n";
      if (i < 3)
        prompts << "To be"
                << "\n";
    }
    // Small models, for it is not learning that is tried here.
    const std::string small = "[model]\nlayers = 1\nheads = 2\nwidth = 16\n";
    std::ofstream(folder_ / "recipe.toml")
        << "task = \"text-classification\"\n[data]\nfile = \"reviews.csv\"\ntarget = \"label\"\n"
        << small << "[train]\nepochs = 2\n";
    std::ofstream(folder_ / "recipes/shakespeare.toml")
        << "task = \"language-model\"\n[tokenizer]\nkind = \"characters\"\n"
        << small << "context = 16\n[train]\nsteps = 3\nbatch_tokens = 64\n";
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Of its own line, for it may end with a comment.
  CommandResult run(const std::string& line) const {
    return run_command("cd " + folder_.string() + "\nexport PATH=" FOVEA_BINARY_DIR "/bin:$PATH\n" + line +
                       "\n");
  }

  fs::path folder_ = fs::path(FOVEA_BINARY_DIR) / ("readme_test_" + std::to_string(getpid()));
};

TEST_F(Readme, CommandLinesRun) {
  const std::vector<std::string> lines = command_lines();
  ASSERT_GE(lines.size(), 13U);
  ASSERT_EQ(run("fovea train recipe.toml --out out/mine --quiet").code, 0);  // what --resume goes on with
  for (const std::string& line : lines) {
    const CommandResult result = run(line);
    EXPECT_EQ(result.code, 0) << line << '\n' << result.err;
    EXPECT_NE(result.out, "") << line;
    if (line.find("--json") == std::string::npos) continue;
    EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 3) << result.out;
    EXPECT_THAT(result.out, testing::StartsWith(line.find("generate") == std::string::npos
                                                    ? "{\"text\":\"a lovely book 0\",\"label\":\""
                                                    : "{\"prompt\":\"To be\""));
  }
  EXPECT_THAT(read_text(folder_ / "page.html"), testing::HasSubstr("<html"));
}

}  // namespace
}  // namespace fovea::house
