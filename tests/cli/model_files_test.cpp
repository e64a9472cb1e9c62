// A model's folder through the tool: its data, its place, its files, and two runs at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string tool(const std::string& arguments) {
  return FOVEA_BINARY_DIR "/bin/fovea " + arguments;
}

std::string table(int rows) {
  std::string text = "text,label\n";
  for (int i = 0; i < rows; ++i)
    text += (i % 3 == 0 ? "a sweet apple " : "a grey stone ") + std::to_string(i) +
            (i % 3 == 0 ? ",fruit\n" : ",rock\n");
  return text;
}

class ModelFiles : public testing::Test {
 protected:
  void SetUp() override { folder_.write("fruit.csv", table(200)); }
  // In the folder of this test, as a person would call it there.
  CommandResult here(const std::string& arguments) {
    return run_command("cd " + folder_.path().string() + " && " + tool(arguments));
  }
  void train(const std::string& more = "--set model.kind=linear") {
    const CommandResult r =
        here("train --task text-classification --data fruit.csv --target label --out m --quiet " + more);
    ASSERT_EQ(r.code, 0) << r.err;
  }
  TemporaryFolder folder_;
};

TEST_F(ModelFiles, DataThatChangedAreRefusedByEvaluateAndExplain) {
  train();
  EXPECT_EQ(here("evaluate m").code, 0);
  std::string more = "text,label\n";
  for (int i = 0; i < 10; ++i) more += "new row " + std::to_string(i) + ",rock\n";
  folder_.write("fruit.csv", more + table(200).substr(11));
  for (const std::string call : {"evaluate m", "explain m --test"}) {
    const CommandResult r = here(call);
    EXPECT_EQ(r.code, 1) << call;
    EXPECT_THAT(
        r.err,
        HasSubstr("fruit.csv: expected the 200 rows that the model was made with, found 210, the first "
                  "other one is number 1 (line 2)"));
    EXPECT_THAT(r.err, HasSubstr("fovea evaluate m --data "));
  }
  EXPECT_EQ(here("evaluate m --data fruit.csv").code, 0) << "the whole file, as the message says";
  folder_.write("fruit.csv", table(200));
  EXPECT_EQ(here("evaluate m").code, 0);
}

TEST_F(ModelFiles, ThePathsOfASavedRecipeWorkFromAnyFolder) {
  train();
  const std::string path = folder_.path().string(), expected = here("evaluate m --json").out;
  EXPECT_EQ(run_command("cd / && " + tool("evaluate " + path + "/m --json")).out, expected);
  fs::create_directories(folder_.path() / "elsewhere");
  fs::rename(folder_.path() / "m", folder_.path() / "elsewhere" / "m");
  EXPECT_EQ(run_command("cd /tmp && " + tool("evaluate " + path + "/elsewhere/m --json")).out, expected);
  const CommandResult again = run_command(
      "cd / && " + tool("train " + path + "/elsewhere/m/recipe.toml --out " + path + "/again --quiet"));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(folder_.read("again/model.safetensors"), folder_.read("elsewhere/m/model.safetensors"));
}

TEST_F(ModelFiles, ARecipeFindsItsDataBesideItself) {
  folder_.write(
      "r.toml",
      "task = \"text-classification\"\n[data]\nfile = \"fruit.csv\"\n[model]\nkind = \"majority\"\n");
  const std::string path = folder_.path().string();
  const CommandResult r =
      run_command("cd / && " + tool("train " + path + "/r.toml --quiet --out " + path + "/m"));
  EXPECT_EQ(r.code, 0) << r.err;
}

TEST_F(ModelFiles, InfoVerifiesAndAcceptsAChangeThatWasMeant) {
  train();
  EXPECT_THAT(here("info m").out, HasSubstr("Verified: 6 files are as they were written"));
  folder_.write("m/card.md", folder_.read("m/card.md") + "\nMade for the fair.\n");
  for (const std::string call : {"info m", "evaluate m", "predict m fruit.csv", "explain m --test"}) {
    const CommandResult r = here(call);
    EXPECT_EQ(r.code, 1) << call;
    EXPECT_THAT(r.err, HasSubstr("m/card.md: expected")) << call;
    EXPECT_THAT(r.err, HasSubstr("fovea info m --accept")) << call;
  }
  EXPECT_EQ(here("info m --accept").code, 0);
  EXPECT_THAT(here("info m").out, HasSubstr("Made for the fair."));
  EXPECT_EQ(here("evaluate m").code, 0);
  EXPECT_EQ(here("info --accept").code, 2);
  EXPECT_EQ(nlohmann::json::parse(here("info m --json").out).at("integrity"), "verified");
}

TEST_F(ModelFiles, AFolderWithoutAManifestIsSaidToBeUnverified) {
  train();
  fs::remove(folder_.path() / "m" / "manifest.json");
  const CommandResult r = here("evaluate m");
  EXPECT_EQ(r.code, 0);
  EXPECT_THAT(r.err, HasSubstr("m: unverified"));
  EXPECT_THAT(here("info m").out, HasSubstr("Unverified"));
}

TEST_F(ModelFiles, ASecondRunIsRefusedUntilTheFirstIsKilled) {
  const std::string call =
      "train --task text-classification --data fruit.csv --target label --out m --quiet --set "
      "tokenizer.kind=words --set model.width=16 --set model.layers=1 --set "
      "train.epochs=100000 --set train.log_every=1";
  const CommandResult r =
      run_command("cd " + folder_.path().string() + "; " + tool(call) +
                  " & pid=$!; until [ -s m/metrics.jsonl ]; do sleep 0.02; done; " +
                  tool(call + " --resume") + "; echo code $?; " + tool(call + " --overwrite") +
                  "; echo code $?; kill -9 $pid; wait $pid; " + tool("info m") + "; echo info $?; " +
                  tool(call + " --overwrite --set train.epochs=1") + " && echo trained");
  EXPECT_THAT(r.err, HasSubstr("m: expected a folder that no other run writes to, found process"));
  EXPECT_THAT(r.out, HasSubstr("code 1\ncode 1\n"));
  EXPECT_THAT(r.out, HasSubstr("trained")) << "a killed run holds no lock: " << r.err;
}

TEST_F(ModelFiles, PartsOfAnEarlierSplitNeverStayBesideNewOnes) {
  ASSERT_EQ(here("data split fruit.csv").code, 0);
  const CommandResult refused = here("data split fruit.csv --fractions 0.5 0.5");
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("holds test.csv, train.csv, valid.csv; give --overwrite"));
  ASSERT_EQ(here("data split fruit.csv --fractions 0.5 0.5 --overwrite").code, 0);
  EXPECT_TRUE(fs::exists(folder_.path() / "fruit" / "test.csv"));
  EXPECT_FALSE(fs::exists(folder_.path() / "fruit" / "valid.csv"));
}

}  // namespace
}  // namespace fovea
