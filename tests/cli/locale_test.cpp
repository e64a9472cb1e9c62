// The tool under Turkish settings, whose numbers have a decimal comma and whose capital i has a dot, does
// what it does under none: the same bits in files, the same letters on the screen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

const std::string kTool = "OMP_WAIT_POLICY=passive " FOVEA_BINARY_DIR "/bin/fovea ";

// Times, and the sizes of the files that tell them, differ from one run to the next.
std::string without_times(const std::string& text) {
  static const std::regex kTimes(
      "[0-9:]+ of training, [0-9]+ MiB|[0-9.]+ s\\.|(card\\.md|metrics\\.jsonl?) .*");
  return std::regex_replace(text, kTimes, "…");
}

TEST(Locale, TheToolDoesTheSameUnderTurkishSettings) {
  const TemporaryFolder folder;
  const std::string path = folder.path().string();
  if (run_command("localedef -i tr_TR -f UTF-8 '" + path + "/tr_TR.UTF-8'").code != 0)
    GTEST_SKIP() << "localedef makes no tr_TR, so Turkish settings were not tested; install locales";
  const std::string turkish = "LOCPATH=" + path + " LC_ALL=tr_TR.UTF-8 ";
  // What the settings are to programs that obey them.
  ASSERT_EQ(run_command(turkish + "locale decimal_point").out, ",\n");
  std::string table = "text,label,score\n";
  for (int i = 0; i < 60; ++i)
    table += (i % 2 == 0 ? "GOOD İSTANBUL film " : "bad ıhlamur FILM ") + std::to_string(i) +
             (i % 2 == 0 ? ",POSITIVE,0.5\n" : ",negative,1.25\n");
  const std::string data = folder.write("a.csv", table);
  std::string printed[2];
  for (const int turn : {0, 1}) {
    const std::string model = "m", settings = turn == 0 ? "LC_ALL=C " : turkish;
    const std::string here = path + (turn == 0 ? "/c" : "/tr");
    std::filesystem::create_directories(here);
    const auto tool = [&](const std::string& arguments) {
      const CommandResult r = run_command("cd " + here + "; " + settings + kTool + arguments);
      EXPECT_EQ(r.code, 0) << settings << arguments << r.err;
      printed[turn] += without_times(r.out) + without_times(r.err);
    };
    tool(
        "train --task text-classification --target label --data ../a.csv --set data.text=text --out m --set "
        "model.width=16 "
        "--set model.layers=1 --set train.epochs=2 --set tokenizer.kind=bpe --set tokenizer.vocab_size=90 "
        "--set "
        "train.learning_rate=0.0125 --set tokenizer.lowercase=true --threads 1 --quiet");
    tool(
        "train --task text-classification --target label --data ../a.csv --set data.text=text --out m --set "
        "model.width=16 "
        "--set model.layers=1 --set train.epochs=3 --set tokenizer.kind=bpe --set tokenizer.vocab_size=90 "
        "--set "
        "train.learning_rate=0.0125 --set tokenizer.lowercase=true --threads 1 --quiet --resume");
    tool("predict m ../a.csv");
    tool("predict m ../a.csv --json");
    tool("explain m ../a.csv --json");
    tool("evaluate m --json");
    tool("info m");
    tool("data stats ../a.csv");
    tool("data stats ../a.csv --json");
    tool("data check ../a.csv --target label");
  }
  EXPECT_GT(printed[0].size(), 10'000U) << "everything was printed";
  EXPECT_EQ(printed[0], printed[1]);
  for (const std::string name :
       {"model.safetensors", "config.json", "tokenizer.json", "recipe.toml", "data.json"})
    EXPECT_TRUE(folder.read("c/m/" + name) == folder.read("tr/m/" + name)) << name;
}

}  // namespace
}  // namespace fovea
