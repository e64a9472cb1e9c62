// fovea data check | split | stats through the tool itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

CommandResult fovea_tool(const std::string& arguments) {
  return run_command(FOVEA_BINARY_DIR "/bin/fovea " + arguments);
}

class DataCommand : public testing::Test {
 protected:
  std::string reviews() {
    return folder_.write(
        "reviews.csv",
        "text,label,author\n"
        "good film,yes,ann\nbad film,no,ann\ngood film,yes,bob\ngood film,no,cy\n\"quoted, text\",yes,dee\n");
  }
  TemporaryFolder folder_;
};

TEST_F(DataCommand, CheckCountsDuplicatesAndConflicts) {
  const CommandResult r = fovea_tool("data check " + reviews() + " --target label --input text --json");
  ASSERT_EQ(r.code, 0) << r.err;
  const auto result = nlohmann::json::parse(r.out);
  EXPECT_EQ(result.at("read").size(), 1U);
  EXPECT_THAT(result.at("check").dump(), HasSubstr("duplicate"));
  EXPECT_THAT(result.at("check").dump(), HasSubstr("conflict"));
  EXPECT_EQ(fovea_tool("data check " + reviews() + " --target label --input text --strict").code, 1);
}

TEST_F(DataCommand, CheckOfTwoFilesFindsLeaks) {
  const std::string test = folder_.write("test.csv", "text,label,author\ngood film,yes,ann\n");
  const CommandResult r = fovea_tool("data check " + reviews() + " " + test + " --target label --input text");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.out, HasSubstr("test.csv:2"));
}

TEST_F(DataCommand, SplitKeepsGroupsTogetherAndEveryRow) {
  std::string table = "text,who\n";
  for (int i = 0; i < 100; ++i) table += "row" + std::to_string(i) + ",p" + std::to_string(i / 4) + "\n";
  const std::string file = folder_.write("rows.csv", table);
  const CommandResult r = fovea_tool("data split " + file + " --group who --json --seed 3");
  ASSERT_EQ(r.code, 0) << r.err;
  std::set<std::string> groups;
  int rows = 0;
  for (const std::string part : {"train", "valid", "test"}) {
    std::istringstream lines(folder_.read("rows/" + part + ".csv"));
    std::set<std::string> here;
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(line, "text,who");
    for (; std::getline(lines, line); ++rows) here.insert(line.substr(line.find(',')));
    for (const std::string& group : here)
      EXPECT_TRUE(groups.insert(group).second) << group << " is in two parts";
  }
  EXPECT_EQ(rows, 100);
}

TEST_F(DataCommand, StatsNamesColumns) {
  const CommandResult r = fovea_tool("data stats " + reviews() + " --json");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(nlohmann::json::parse(r.out).at("rows"), 5);
}

TEST_F(DataCommand, BadFilesFailWithOneLine) {
  for (const std::string& file :
       {folder_.path().string(), folder_.write("empty.csv", ""), (folder_.path() / "missing.csv").string(),
        folder_.write("ragged.csv", "a,b\n1,2\n3\n")}) {
    const CommandResult r = fovea_tool("data check " + file);
    EXPECT_EQ(r.code, 1) << file;
    EXPECT_THAT(r.err, StartsWith("fovea: " + file)) << file;
    EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
  }
}

TEST_F(DataCommand, WrongOptionsExitWithTwo) {
  for (const std::string call : {" check", " split x.csv --group a --stratify b",
                                 " check x.csv --header maybe", " stats x.csv --format xml"}) {
    const CommandResult r = fovea_tool("data" + call);
    EXPECT_EQ(r.code, 2) << call << ": " << r.err;
  }
  EXPECT_EQ(fovea_tool("data split " + reviews() + " --fractions 0.5 0.2").code, 2);
  EXPECT_EQ(fovea_tool("data check " + reviews() + " --target nope").code, 1)
      << "the column is missing in the file";
}

}  // namespace
}  // namespace fovea
