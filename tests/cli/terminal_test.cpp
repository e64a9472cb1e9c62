// Words of users that would steer a terminal are shown, not obeyed, whichever command prints them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kTool = FOVEA_BINARY_DIR "/bin/fovea ";

// "\\x1b[2J" clears the screen, "\\u009b" begins a command of eight bits, "\\u202e" turns the direction.
void expect_harmless(const std::string& printed, const std::string& what) {
  EXPECT_THAT(printed, Not(HasSubstr("\x1b"))) << what;
  EXPECT_THAT(printed, Not(HasSubstr("\xc2\x9b"))) << what;
  EXPECT_THAT(printed, Not(HasSubstr("\xe2\x80\xae"))) << what;
}

TEST(Terminal, DataCannotSteerIt) {
  const TemporaryFolder folder;
  const std::string odd = "\x1b[2J\xc2\x9b\xe2\x80\xae";
  std::string table = "text,label\n";
  for (int i = 0; i < 40; ++i) {
    table += (i % 2 == 0 ? "good " : "bad ") + odd + " film " + std::to_string(i) + "," +
             (i % 2 == 0 ? "pos" : "neg") + odd + "\n";
  }
  const std::string data = folder.write("a.csv", table);
  const std::string model = (folder.path() / "model").string();
  const CommandResult trained = run_command(
      kTool + "train --task text-classification --set model.kind=linear --set linear.epochs=3 --data " +
      data + " --target label --out " + model);
  ASSERT_EQ(trained.code, 0) << trained.err;
  expect_harmless(trained.out + trained.err, "train");
  for (const std::string& call :
       {"predict " + model + " " + data, "explain " + model + " " + data, "evaluate " + model,
        "info " + model, "data check " + data + " --target label", "data stats " + data}) {
    const CommandResult r = run_command(kTool + call);
    EXPECT_EQ(r.code, 0) << call << r.err;
    expect_harmless(r.out + r.err, call);
  }
  EXPECT_THAT(run_command(kTool + "predict " + model + " " + data).out, HasSubstr("pos\\x1b[2J\\x9b\\u202e"));
  EXPECT_THAT(run_command(kTool + "explain " + model + " " + data).out, HasSubstr("\\x1b[2J"));
  for (const std::string verb : {"predict ", "explain "}) {
    const CommandResult r = run_command(kTool + verb + model + " " + data + " --json | head -1");
    EXPECT_THAT(nlohmann::json::parse(r.out).at("text").get<std::string>(), HasSubstr(odd)) << verb;
  }
  for (const std::string& call :
       {"predict " + model + " '" + odd + "'", "predict '" + odd + "' x", "info '" + odd + "'",
        "evaluate " + model + " --data '" + odd + "'", "generate '" + odd + "'", "'" + odd + "'",
        "predict " + model + " --threads '" + odd + "'", "predict " + model + " '--" + odd + "'"}) {
    const CommandResult r = run_command(kTool + call);
    EXPECT_NE(r.code, 0) << call;
    expect_harmless(r.err, call);
  }
}

// Names of columns, classes, files, keys of recipes and vocabularies, in reports and in errors.
TEST(Terminal, NoVerbObeysDataOrRecipes) {
  const TemporaryFolder folder;
  const std::string odd = "\x1b[2J\xc2\x9b\xe2\x80\xae", path = folder.path().string();
  std::string table = "te" + odd + "xt,la" + odd + "bel\n", running;
  for (int i = 0; i < 40; ++i) {
    table += (i % 2 == 0 ? "good " : "bad ") + odd + std::to_string(i) + "," + (i % 2 == 0 ? "pos" : "neg") +
             odd + "\n";
    running += "to " + odd + " be\nor not\n";
  }
  const std::string data = folder.write("a" + odd + ".csv", table),
                    text = folder.write("t" + odd + ".txt", running);
  const std::string column = "'te" + odd + "xt'", target = "'la" + odd + "bel'", quoted = "'" + data + "'";
  const std::string model = "'" + path + "/m" + odd + "'", language = "'" + path + "/lm" + odd + "'";
  const std::string unknown =
      folder.write("b.csv", "te" + odd + "xt,la" + odd + "bel\ngood,ne" + odd + "ver\n");
  const std::string recipe = folder.write("r.toml", "task = \"text-classification\"\nda\x1bta = 1\n");
  const std::string key = folder.write("k.toml", "task = \"te\\u001b[2Jxt\"\n[data]\nfile = \"x\"\n");
  const std::string wrong = folder.write("w.jsonl", "{\"te\x1b[2Jxt\": \"a\"}\n{\"te" + odd + "\n");
  for (const std::string& call :
       {"train --task text-classification --set model.kind=linear --set linear.epochs=3 --data " + quoted +
            " --target " + target + " --set data.text=" + column + " --out " + model,
        "train --task language-model --set model.layers=1 --set model.width=16 --set model.heads=2 --set "
        "model.context=16 --set train.epochs=1 --data '" +
            text + "' --out " + language,
        "predict " + model + " " + quoted, "explain " + model + " " + quoted, "explain " + model + " --test",
        "evaluate " + model, "evaluate " + model + " --data " + quoted, "info " + model, "info " + language,
        "evaluate " + language + " --data '" + text + "'", "explain " + language + " '" + text + "'",
        "generate " + language + " --prompt '" + odd + "' --tokens 40",
        "generate " + language + " '" + text + "' --tokens 9", "data check " + quoted + " --target " + target,
        "data stats " + quoted, "data split " + quoted + " --stratify " + target}) {
    const CommandResult r = run_command(kTool + call);
    EXPECT_EQ(r.code, 0) << call << r.err;
    expect_harmless(r.out + r.err, call);
  }
  for (const std::string& call :
       {"evaluate " + model + " --data " + unknown, "predict " + model + " " + wrong,
        "predict " + model + " - --format jsonl < " + wrong,
        "predict " + model + " - --format jsonl < " + wrong, "train " + recipe, "train " + key,
        "train '" + path + "/" + odd + "'",
        "train --task text-classification --data " + quoted + " --out x --target '" + odd + "'",
        "train --task '" + odd + "' --data " + quoted + " --out x", "train " + key + " --set '" + odd + "=1'",
        "train " + key + " --set 'task=" + odd + "'",
        "train --resume --task language-model --data '" + text + "' --out x" + odd,
        "data split " + quoted + " --stratify " + target, "data split " + quoted + " --group '" + odd + "'",
        "data check " + quoted + " --target '" + odd + "'", "info --attention '" + odd + "'",
        "explain " + model + " --column '" + odd + "' " + quoted,
        "train --compare '" + odd + "' --task text-classification --data " + quoted + " --out x"}) {
    const CommandResult r = run_command("cd " + path + "; " + kTool + call);
    EXPECT_NE(r.code, 0) << call;
    expect_harmless(r.out + r.err, call);
  }
}

TEST(Terminal, GeneratedTextKeepsItsLines) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 100; ++i) text += "to be\tor\nnot to be\n";
  const std::string model = (folder.path() / "model").string();
  const CommandResult trained = run_command(
      kTool + "train --task language-model --out " + model + " --data " + folder.write("t.txt", text) +
      " --set model.layers=1 --set model.width=16 --set model.heads=2 --set model.context=16 --set "
      "train.epochs=1");
  ASSERT_EQ(trained.code, 0) << trained.err;
  const CommandResult r =
      run_command(kTool + "generate " + model + " --tokens 1 --prompt \"$(printf 'to\\tbe\\n\\033[2Jnot')\"");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, testing::StartsWith("to\tbe\n\\x1b[2Jnot"));
}

}  // namespace
}  // namespace fovea
