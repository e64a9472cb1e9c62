// The faces of the command line: help, version, exit codes, one-line errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "fovea/base/version.hpp"
#include "tests/support/run_command.hpp"

namespace fovea {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::StartsWith;

CommandResult fovea_tool(const std::string& arguments) {
  return run_command(FOVEA_BINARY_DIR "/bin/fovea " + arguments);
}

int lines(const std::string& text) {
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

TEST(CommandLine, VersionIsTheLibrarys) {
  const CommandResult r = fovea_tool("--version");
  EXPECT_EQ(r.code, 0);
  EXPECT_EQ(r.out, std::string("fovea ") + version() + "\n");
}

TEST(CommandLine, WrongCallsExitWithTwoAndOneLine) {
  for (const std::string call :
       {"", "nope", "info --nope", "info --threads 0", "info --seed -1", "info one two"}) {
    const CommandResult r = fovea_tool(call);
    EXPECT_EQ(r.code, 2) << call;
    EXPECT_EQ(r.out, "") << call;
    EXPECT_THAT(r.err, StartsWith("fovea: ")) << call;
    EXPECT_EQ(lines(r.err), 1) << call << ": " << r.err;
  }
  EXPECT_THAT(fovea_tool("nope").err, HasSubstr("expected a command out of"));
}

// Each command that `fovea --help` lists has a help of its own with two examples that begin with its name.
TEST(CommandLine, EveryHelpHasTwoExamples) {
  const std::string help = fovea_tool("--help").out;
  const size_t begin = help.find("Subcommands:\n");
  ASSERT_NE(begin, std::string::npos) << help;
  std::istringstream list(help.substr(begin + 13));
  int commands = 0;
  for (std::string line; std::getline(list, line) && line.starts_with("  ");) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (line.starts_with("   ")) continue;  // a description's second line
    ++commands;
    const CommandResult r = fovea_tool(name + " --help");
    EXPECT_EQ(r.code, 0) << name;
    EXPECT_THAT(r.out, HasSubstr("Usage: fovea " + name));
    int examples = 0;
    for (size_t at = r.out.find("\n  fovea " + name); at != std::string::npos;
         at = r.out.find("\n  fovea " + name, at + 1)) {
      ++examples;
    }
    EXPECT_GE(examples, 2) << r.out;
  }
  EXPECT_GE(commands, 1);
}

// An option that takes a value says what it is when it is left out, and no word of the parser's stands there.
TEST(CommandLine, EveryOptionWithAValueTellsItsDefault) {
  int options = 0;
  for (const std::string command : {"", "train", "evaluate", "predict", "generate", "explain", "data check",
                                    "data split", "data stats", "info"}) {
    const CommandResult r = fovea_tool(command + " --help");
    ASSERT_EQ(r.code, 0) << command;
    const std::string help = r.out.substr(0, r.out.find("\nExamples:"));
    for (const char* word : {"INT", "UINT", "FLOAT", "TEXT:", "REQUIRED", "Excludes", "Needs"}) {
      EXPECT_THAT(help, testing::Not(HasSubstr(word))) << command;
    }
    std::vector<std::string> entries;
    std::istringstream text(help);
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("  -")) {
        entries.push_back(line);
      } else if (line.starts_with("   ") && !entries.empty()) {
        entries.back() += line;
      } else {
        entries.emplace_back();
      }
    }
    for (const std::string& entry : entries) {
      if (!std::regex_search(entry, std::regex("^  --[a-z-]+ [A-Z]"))) continue;  // a flag
      ++options;
      EXPECT_THAT(entry, HasSubstr("(default: ")) << command;
    }
  }
  EXPECT_GE(options, 40);
}

TEST(Info, TellsTheMachine) {
  const CommandResult r = fovea_tool("info --json --threads 3");
  EXPECT_EQ(r.code, 0);
  const auto info = nlohmann::json::parse(r.out);
  EXPECT_EQ(info.at("version"), version());
  EXPECT_EQ(info.at("threads"), 3);
  EXPECT_FALSE(info.at("instruction_sets").empty());
  EXPECT_THAT(fovea_tool("info").out, HasSubstr("instruction sets"));
  const std::string plan = fovea_tool("info --attention 'B=1 H=8 L=4096 D=64 causal softcap=2'").out;
  EXPECT_THAT(plan, HasSubstr("forward   float32        serves      multiply-adds of "));
  // The first reason is told: that of the processor, or of the call.
  EXPECT_THAT(
      plan,
      ContainsRegex("forward   amx_bf16       declines    (this processor has no AMX-BF16|float32 inputs at "
                    "strict precision)"));
  EXPECT_THAT(plan, HasSubstr("work              17.18 GFLOP forward"));  // 4·8·64·(4096·4097/2)
  const auto parsed =
      nlohmann::json::parse(fovea_tool("info --json --attention 'Lq=8 Lk=9 D=32 Dv=16 bf16 fast'").out);
  EXPECT_EQ(parsed.at("backward").back().at("kernel"), "float32");
}

TEST(CommandLine, AWrongAttentionCallIsToldWhatItsValueMayBe) {
  for (const auto& [call, expected] : {
           std::pair{"sideways", "expected B=, H=, L=, "},
           std::pair{"L=many", "expected a whole number from 0 to 1000000000 in --attention, got 'L=many'"},
           std::pair{"D=0", "expected a whole number from 1 to 1024 in --attention, got 'D=0'"},
           std::pair{"D=2000", "expected a whole number from 1 to 1024"},
           std::pair{"top_k=0", "expected a whole number >= 1 in --attention, got 'top_k=0'"},
           std::pair{"top_k=-3", "expected a whole number >= 1 in --attention, got 'top_k=-3'"},
           std::pair{"softcap=-1", "expected a number >= 0"},
           std::pair{"dropout=1", "expected a number in [0, 1)"},
           std::pair{"window=256", "expected window=LEFT,RIGHT, -1 for unbounded,"},
       }) {
    const CommandResult r = fovea_tool(std::string("info --attention '") + call + "'");
    EXPECT_EQ(r.code, 2) << call;
    EXPECT_THAT(r.err, HasSubstr(expected)) << call;
  }
}

TEST(WrongCall, IsToldInOurWords) {
  for (const auto& [call, expected] : std::vector<std::pair<std::string, std::string>>{
           {"info --threads many", "--threads: expected a number from 1 to 1024, found 'many'"},
           {"info --threads 0", "--threads: expected a number from 1"},
           {"info --seed -1", "--seed: expected a number from 0 to 9223372036854775807, found '-1'"},
           {"info --threads", "--threads: expected a value, found none"},
           {"explain m --limit 0", "--limit: expected a number from 1"},
           {"predict", "expected MODEL, found none"},
           {"predict m x y", "expected no further argument, found 'y'"},
           {"predict m --wrong", "expected no further argument, found '--wrong'"},
           {"info m --attention x", "found both"}}) {
    const CommandResult r = run_command(FOVEA_BINARY_DIR "/bin/fovea " + call);
    EXPECT_EQ(r.code, 2) << call;
    EXPECT_THAT(r.err, testing::HasSubstr(expected)) << call;
  }
}

}  // namespace
}  // namespace fovea
