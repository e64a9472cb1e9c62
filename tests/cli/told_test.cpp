// What a person must know of an answer that looks as good as any: bytes that were replaced, an encoding that
// was guessed, a header, words beyond the model's reach; and what went wrong, in words of ours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kTool = "OMP_WAIT_POLICY=passive " FOVEA_BINARY_DIR "/bin/fovea ";

class Told : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    std::string table = "text,label\n";
    for (int i = 0; i < 40; ++i)
      table +=
          (i % 2 == 0 ? "good film " : "bad film ") + std::to_string(i) + (i % 2 == 0 ? ",pos\n" : ",neg\n");
    const std::string data = folder_->write("a.csv", table);
    for (const std::string kind : {"linear", "attention"}) {
      const CommandResult r = run_command(
          kTool + "train --task text-classification --target label --data " + data + " --out " + model(kind) +
          " --set model.kind=" + kind +
          " --set linear.epochs=3 --set tokenizer.kind=words --set model.width=16 --set model.heads=2 --set "
          "model.layers=1 --set model.max_tokens=6 --set train.epochs=1 --quiet");
      ASSERT_EQ(r.code, 0) << r.err;
    }
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string model(const std::string& kind = "linear") { return (folder_->path() / kind).string(); }
  static CommandResult tool(const std::string& arguments) { return run_command(kTool + arguments); }
  static inline TemporaryFolder* folder_ = nullptr;
};

TEST_F(Told, HowAFileWasRead) {
  const std::string stray = folder_->write("stray.csv", "text,label\ncaf\xC3\xA9 and bad \xFF film,neg\n");
  const std::string latin = folder_->write("latin.txt", "caf\xE9\ngood film\n");
  for (const std::string verb : {"predict ", "explain "}) {
    for (const std::string json : {"", " --json"}) {
      const CommandResult r = tool(verb + model() + " " + stray + json);
      ASSERT_EQ(r.code, 0) << r.err;
      EXPECT_THAT(r.err,
                  HasSubstr("stray.csv: 1 rows, csv with ',', header, utf-8, 1 bytes that are no utf-8 "
                            "replaced by U+FFFD, the first on line 2"))
          << verb << json;
    }
    EXPECT_THAT(tool(verb + model() + " " + latin).err, HasSubstr("latin.txt: 2 rows, lines, cp1252"))
        << verb;
    EXPECT_EQ(tool(verb + model() + " " + stray + " --quiet").err, "");
  }
  EXPECT_THAT(tool("evaluate " + model() + " --data " + stray + " --json").err,
              HasSubstr("1 bytes that are no utf-8"));
}

TEST_F(Told, HowStandardInputWasRead) {
  for (const std::string verb : {"predict ", "explain "}) {
    const auto piped = [&](const std::string& bytes, const std::string& options) {
      return run_command(kTool + verb + model() + " - " + options + " < " + folder_->write("in", bytes)).err;
    };
    EXPECT_EQ(piped("good film\nbad film\n", ""), "") << "plain lines of UTF-8 are what they seem";
    EXPECT_THAT(piped("caf\xC3\xA9\nbad \xFF film\n", ""), HasSubstr("1 bytes that are no utf-8")) << verb;
    EXPECT_THAT(piped("caf\xE9\n", ""), HasSubstr("standard input: 1 rows, lines, cp1252")) << verb;
    EXPECT_THAT(piped("text;label\ngood film;pos\n", "--format csv"),
                HasSubstr("standard input: 1 rows, csv with ';', header"))
        << verb;
    EXPECT_THAT(piped("{\"text\": \"caf\xC3\xA9 \xFF\"}\n{\"text\":\n", "--format jsonl"),
                AllOf(HasSubstr("1 bytes that are no utf-8"), HasSubstr("standard input:2:")))
        << verb;
  }
}

TEST_F(Told, WordsBeyondTheModelsReachOnce) {
  const std::string file =
      folder_->write("long.csv",
                     "text,label\none two three four five six,pos\none two three four five six seven,neg\n"
                     "one two three four five six seven eight,neg\ngood film,pos\n");
  const std::string wanted = "warning: 2 texts are longer than the 6 tokens that the model reads";
  for (const std::string& call :
       {"predict " + model("attention") + " " + file, "explain " + model("attention") + " " + file,
        "evaluate " + model("attention") + " --data " + file,
        "predict " + model("attention") + " - --format csv --json < " + file}) {
    const CommandResult r = tool(call);
    ASSERT_EQ(r.code, 0) << r.err;
    const size_t at = r.err.find(wanted);
    ASSERT_NE(at, std::string::npos) << call << ": " << r.err;
    EXPECT_EQ(r.err.find("longer than", at + wanted.size()), std::string::npos) << call;
  }
  EXPECT_THAT(tool("predict " + model() + " " + file).err, Not(HasSubstr("longer"))) << "it reads all of it";
}

// The words of others, wherever they come from.
void expect_ours(const CommandResult& r, const std::string& what) {
  EXPECT_NE(r.code, 0) << what;
  EXPECT_LT(r.code, 3) << what << ": " << r.err;
  EXPECT_THAT(r.err, HasSubstr("expected")) << what;
  for (const char* word : {"nlohmann", "json.exception", "parse_error", "type_error", "filesystem error",
                           "basic_string", "vector::", "std::", "Internal:", "INTERNAL", ".cc("}) {
    EXPECT_THAT(r.err, Not(HasSubstr(word))) << what;
  }
}

TEST_F(Told, ADamagedModelInOurWords) {
  const std::string damaged = (folder_->path() / "damaged").string();
  const auto damage = [&](const std::string& name, const std::string& bytes) {
    fs::remove_all(damaged);
    fs::copy(model("attention"), damaged, fs::copy_options::recursive);
    fs::remove(damaged + "/manifest.json");
    folder_->write("damaged/" + name, bytes);
  };
  const std::string config = folder_->read("attention/config.json");
  for (const auto& [name, bytes] : std::vector<std::pair<std::string, std::string>>{
           {"config.json", "{\"task\": 3}"},
           {"config.json", "[]"},
           {"config.json", "{\"task\": \"text-classification\"}"},
           {"config.json", config.substr(0, config.size() / 2)},
           {"config.json", "{\"task\": \"\x1b[2J\"}"},
           {"tokenizer.json", "{}"},
           {"tokenizer.json", "damaged"},
           {"model.safetensors", "damaged"}}) {
    damage(name, bytes);
    for (const std::string verb : {"predict ", "explain ", "evaluate "}) {
      expect_ours(run_command("echo good film | " + kTool + verb + damaged), verb + name + " " + bytes);
    }
  }
  damage("metrics.json", std::string(100'000, '['));
  expect_ours(tool("info " + damaged + " --json"), "a hundred thousand brackets");
}

TEST_F(Told, PathsThatNobodyCanUseInOurWords) {
  const std::string endless(5000, 'a');
  const fs::path loop = folder_->path() / "loop";
  if (!fs::is_symlink(loop)) fs::create_symlink("loop", loop);
  const std::string data = (folder_->path() / "a.csv").string();
  for (const std::string& path : {endless, loop.string(), std::string("/dev/null/x"), data + "/x"}) {
    for (const std::string& call :
         {"predict " + path, "explain " + path, "evaluate " + path, "generate " + path, "info " + path,
          "predict " + model() + " " + path, "explain " + model() + " " + path,
          "evaluate " + model() + " --data " + path, "data check " + path, "data stats " + path,
          "data split " + path, "data split " + data + " --out " + path, "train " + path,
          "train --task text-classification --data " + path + " --out " + model("never"),
          "train --task text-classification --set model.kind=majority --data " + data + " --out " + path,
          "train --task text-classification --resume --data " + data + " --out " + path}) {
      expect_ours(tool(call + " </dev/null"), call.substr(0, 200));
    }
  }
  const CommandResult page = tool("explain " + model() + " " + data + " --report " + endless);
  EXPECT_THAT(page.err, HasSubstr("could not be created: File name too long"));
}

// /dev/zero has no end, and holds no text.
TEST_F(Told, InputWithoutAnEndIsRefusedSoon) {
  if (!fs::exists("/dev/zero")) GTEST_SKIP() << "no /dev/zero";
  for (const std::string& call :
       {"predict " + model() + " /dev/zero", "predict " + model() + " - < /dev/zero",
        "predict " + model() + " - --format csv < /dev/zero",
        "predict " + model() + " - --format jsonl < /dev/zero", "explain " + model() + " /dev/zero",
        "explain " + model() + " - < /dev/zero", "evaluate " + model() + " --data /dev/zero",
        "evaluate " + model() + " --data - < /dev/zero", std::string("data check /dev/zero"),
        std::string("data check - < /dev/zero"), std::string("data stats /dev/zero"),
        std::string("data stats - < /dev/zero"), "data split /dev/zero --out " + model("parts"),
        "data split - --out " + model("parts") + " < /dev/zero", std::string("train /dev/zero"),
        "train --task text-classification --data /dev/zero --out " + model("never"),
        "train --task language-model --data /dev/zero --out " + model("never"), std::string("info /dev/zero"),
        std::string("predict /dev/zero")}) {
    const CommandResult r = run_command("timeout 60 env " + kTool + call);
    expect_ours(r, call);
  }
}

// Letters without an end: nothing shows that there is none, so that a bound must.
TEST_F(Told, ALineWithoutAnEndMeetsABound) {
  for (const std::string& call : {"predict " + model() + " -", "predict " + model() + " - --format csv",
                                  "predict " + model() + " - --format jsonl", "explain " + model() + " -"}) {
    const CommandResult r =
        run_command("tr '\\0' a < /dev/zero 2>/dev/null | timeout 60 env " + kTool + call);
    expect_ours(r, call);
    EXPECT_THAT(r.err, HasSubstr("bytes")) << call;
  }
}

}  // namespace
}  // namespace fovea
