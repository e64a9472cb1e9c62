// The documentation stays true: its links, and the commands that it tells people to type.
#include <gtest/gtest.h>

#include <set>

#include "tests/house/source_tree.hpp"
#include "tests/support/run_command.hpp"

namespace fovea::house {
namespace {

std::vector<std::string> documents() {
  std::vector<std::string> files = files_under("docs", {".md"});
  files.push_back("README.md");
  return files;
}

std::vector<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex expression(pattern);
  std::vector<std::string> found;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), expression); it != std::sregex_iterator();
       ++it) {
    found.push_back((*it)[1]);
  }
  return found;
}

// What stands in code: fenced blocks and `quoted` words.
std::string code_of(const std::string& markdown) {
  std::string code;
  bool fenced = false;
  std::istringstream lines(markdown);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      fenced = !fenced;
    } else if (fenced) {
      code += line + "\n";
    } else {
      for (const std::string& quoted : matches(line, "`([^`]+)`")) code += quoted + "\n";
    }
  }
  return code;
}

TEST(Documentation, LinksLeadSomewhere) {
  for (const std::string& file : documents()) {
    for (std::string link : matches(read_text(kRoot / file), R"(\]\(([^)\s]+)\))")) {
      if (link.starts_with("http") || link.starts_with("#")) continue;
      link = link.substr(0, link.find('#'));
      EXPECT_TRUE(fs::exists((kRoot / file).parent_path() / link)) << file << " links to " << link;
    }
  }
}

TEST(Documentation, MakeTargetsExist) {
  std::set<std::string> targets;
  for (const std::string& name : matches(read_text(kRoot / "Makefile"), "(?:^|\n)([a-z-]+):"))
    targets.insert(name);
  EXPECT_TRUE(targets.contains("demo"));
  for (const std::string& file : documents()) {
    for (const std::string& name :
         matches(code_of(read_text(kRoot / file)), R"((?:^|\n|&& )make ([a-z][a-z-]*))")) {
      EXPECT_TRUE(targets.contains(name)) << file << " names make " << name;
    }
  }
}

TEST(Documentation, EveryMakeTargetIsInTheHelp) {
  const std::string help = run_command("make --no-print-directory -C " FOVEA_SOURCE_DIR " help").out;
  for (const std::string name : {"demo", "test", "test-sanitize", "bench", "bench-peers", "evaluate",
                                 "python", "format", "lint", "docs", "install", "clean"}) {
    EXPECT_NE(help.find("  make " + name + " "), std::string::npos) << name;
  }
}

TEST(Documentation, CommandsExist) {
  for (const std::string& file : documents()) {
    for (const std::string& name : matches(code_of(read_text(kRoot / file)),
                                           R"((?:^|\n|/)fovea ([a-z]+(?: (?:check|split|stats))?))")) {
      EXPECT_EQ(run_command(FOVEA_BINARY_DIR "/bin/fovea " + name + " --help").code, 0)
          << file << " names fovea " << name;
    }
  }
}

TEST(Documentation, ScriptsExist) {
  for (const std::string& file : documents()) {
    for (const std::string& name :
         matches(code_of(read_text(kRoot / file)), R"((tools/[\w/.-]+\.(?:sh|py)))")) {
      EXPECT_TRUE(fs::exists(kRoot / name)) << file << " names " << name;
    }
  }
}

}  // namespace
}  // namespace fovea::house
