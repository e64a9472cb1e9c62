// fovea train | evaluate | predict | info on a task small enough to be learnt in a second.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

CommandResult fovea_tool(const std::string& arguments) {
  return run_command(FOVEA_BINARY_DIR "/bin/fovea " + arguments);
}

std::string fruit_table(int rows) {
  std::string table = "text,label\n";
  for (int i = 0; i < rows; ++i) {
    table += i % 2 == 0 ? "a sweet red apple number " : "a grey hard stone number ";
    table += std::to_string(i) + (i % 2 == 0 ? ",fruit\n" : ",rock\n");
  }
  return table;
}

class ModelCommand : public testing::Test {
 protected:
  std::string train(const std::string& kind) {
    const std::string data = folder_.write("fruit.csv", fruit_table(200));
    const std::string model = (folder_.path() / kind).string();
    const CommandResult r = fovea_tool(
        "train --task text-classification --data " + data + " --target label --out " + model +
        " --set model.kind=" + kind +
        " --set tokenizer.kind=words --set model.width=16 --set model.layers=1 --set train.epochs=3 --json");
    EXPECT_EQ(r.code, 0) << r.err;
    const auto result = nlohmann::json::parse(r.out, nullptr, false);
    EXPECT_EQ(result.value("kind", ""), kind) << r.out;
    return model;
  }
  TemporaryFolder folder_;
};

TEST_F(ModelCommand, TrainsEvaluatesAndPredicts) {
  const std::string model = train("linear");
  const CommandResult evaluation = fovea_tool("evaluate " + model + " --json");
  ASSERT_EQ(evaluation.code, 0) << evaluation.err;
  EXPECT_EQ(nlohmann::json::parse(evaluation.out).at("accuracy"), 1.0);
  EXPECT_THAT(fovea_tool("evaluate " + model).out, HasSubstr("macro-F1"));
  EXPECT_THAT(fovea_tool("info " + model).out, HasSubstr("linear"));

  const CommandResult prediction =
      run_command("printf 'a red apple\\n\\na hard stone\\n' | " FOVEA_BINARY_DIR "/bin/fovea predict " +
                  model + " - --json");
  ASSERT_EQ(prediction.code, 0) << prediction.err;
  std::istringstream lines(prediction.out);
  std::string line;
  std::vector<std::string> labels;
  while (std::getline(lines, line)) labels.push_back(nlohmann::json::parse(line).value("label", ""));
  ASSERT_EQ(labels.size(), 3U) << "a blank line is a text, too";
  EXPECT_EQ(labels[0], "fruit");
  EXPECT_EQ(labels[2], "rock");
}

TEST_F(ModelCommand, ExplainsNamesTheWordsAndWritesThePage) {
  const std::string model = train("attention");
  const std::string page = (folder_.path() / "page.html").string();
  const CommandResult r = fovea_tool("explain " + model + " --test --limit 3 --json --report " + page);
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.out);
  std::string line;
  int examples = 0;
  for (; std::getline(lines, line); ++examples) {
    const auto example = nlohmann::json::parse(line);
    EXPECT_EQ(example.at("words").size(), 5U);
    EXPECT_TRUE(example.contains("truth"));
  }
  EXPECT_EQ(examples, 3);
  EXPECT_THAT(folder_.read("page.html"), HasSubstr("<html"));
  EXPECT_THAT(fovea_tool("explain " + model + " --test --limit 1").out, HasSubstr("%"));
}

TEST_F(ModelCommand, EvaluatesAnotherTableAndNamesUnknownLabels) {
  const std::string model = train("linear");
  const std::string good = folder_.write("good.csv", "text,label\nred apple,fruit\n");
  EXPECT_EQ(fovea_tool("evaluate " + model + " --data " + good).code, 0);
  const std::string bad = folder_.write("bad.csv", "text,label\nred apple,fruit\nred apple,cloud\n");
  const CommandResult r = fovea_tool("evaluate " + model + " --data " + bad);
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err,
              StartsWith("fovea: " + bad + ":3: expected one of the model's 2 classes, found \"cloud\""));
}

TEST_F(ModelCommand, ComparesKindsInOneTable) {
  const std::string data = folder_.write("fruit.csv", fruit_table(100));
  const CommandResult r =
      fovea_tool("train --task text-classification --data " + data + " --target label --out " +
                 (folder_.path() / "both").string() + " --compare linear,majority --quiet");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("linear"));
  EXPECT_THAT(r.out, HasSubstr("majority"));
  EXPECT_EQ(r.err, "") << "quiet";
}

TEST_F(ModelCommand, CtrlCSavesAndResumesToTheSameBits) {
  const std::string data = folder_.write("fruit.csv", fruit_table(400));
  const auto command = [&](const std::string& out) {
    return FOVEA_BINARY_DIR "/bin/fovea train --task text-classification --data " + data +
           " --target label --threads 1 --quiet --out " + (folder_.path() / out).string() +
           " --set tokenizer.kind=words --set model.width=16 --set model.layers=1 --set train.epochs=40 "
           "--set train.batch_tokens=128 --set train.log_every=1";
  };
  const std::string course = (folder_.path() / "stopped" / "metrics.jsonl").string();
  const CommandResult stopped = run_command(command("stopped") + " & pid=$!; until [ -s " + course +
                                            " ]; do sleep 0.01; done; kill -INT $pid; wait $pid");
  ASSERT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_THAT(stopped.err, HasSubstr("--resume"));
  ASSERT_EQ(run_command(command("stopped") + " --resume").code, 0);
  ASSERT_EQ(run_command(command("whole")).code, 0);
  EXPECT_EQ(folder_.read("stopped/model.safetensors"), folder_.read("whole/model.safetensors"));
}

TEST_F(ModelCommand, LanguageModelGeneratesTheSameForTheSameSeed) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "to be or not to be, that is the question\n";
  const std::string data = folder_.write("hamlet.txt", text);
  const std::string model = (folder_.path() / "lm").string();
  const CommandResult trained =
      fovea_tool("train --task language-model --data " + data + " --out " + model +
                 " --threads 1 --quiet --set tokenizer.kind=characters --set model.width=16 "
                 "--set model.layers=1 --set model.heads=2 --set model.context=32 "
                 "--set train.steps=20");
  ASSERT_EQ(trained.code, 0) << trained.err;
  const std::string call = "generate " + model + " --prompt 'to be' --tokens 20 --seed 3";
  const CommandResult first = fovea_tool(call);
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, StartsWith("to be"));
  EXPECT_EQ(first.out, fovea_tool(call).out);
  EXPECT_EQ(fovea_tool("generate " + model + " --temperature -1").code, 2);
  const CommandResult evaluation = fovea_tool("evaluate " + model + " --data " + data + " --json");
  ASSERT_EQ(evaluation.code, 0) << evaluation.err;
  const auto scores = nlohmann::json::parse(evaluation.out);
  EXPECT_GT(scores.at("perplexity"), 1.0);
  EXPECT_NEAR(scores.at("perplexity").get<double>(), std::exp(scores.at("loss").get<double>()), 1e-9);
}

TEST_F(ModelCommand, WrongCallsAndBadModelsAreNamed) {
  EXPECT_EQ(fovea_tool("train").code, 2);
  EXPECT_EQ(fovea_tool("train recipe.toml --data x.csv").code, 2);
  EXPECT_EQ(fovea_tool("train missing.toml").code, 1);
  EXPECT_EQ(fovea_tool("predict").code, 2);
  const std::string recipe =
      folder_.write("r.toml", "task = \"text-classification\"\n[data]\nfile = \"x.csv\"\nsplitt = 1\n");
  const CommandResult misspelt = fovea_tool("train " + recipe + " --out " + (folder_.path() / "m").string());
  EXPECT_EQ(misspelt.code, 1);
  EXPECT_THAT(misspelt.err, HasSubstr("r.toml:4"));
  EXPECT_THAT(misspelt.err, HasSubstr("data.split"));
  const CommandResult nothing = fovea_tool("predict " + (folder_.path() / "none").string());
  EXPECT_EQ(nothing.code, 1);
  EXPECT_THAT(nothing.err, HasSubstr("expected a model's folder, found nothing"));
}

}  // namespace
}  // namespace fovea
