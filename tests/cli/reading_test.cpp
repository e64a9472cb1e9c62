// Tables and texts as people write them, through the tool itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea {
namespace {

using testing::HasSubstr;

CommandResult fovea_tool(const std::string& arguments) {
  return run_command(FOVEA_BINARY_DIR "/bin/fovea " + arguments);
}

int64_t lines_in(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

class Reading : public testing::Test {
 protected:
  static std::string rows(const std::string& header, bool index) {
    std::string table = header;
    for (int i = 0; i < 20; ++i) {
      if (index) table += std::to_string(i) + ",";
      table +=
          (i % 2 == 0 ? "good film " : "bad film ") + std::to_string(i) + (i % 2 == 0 ? ",pos\n" : ",neg\n");
    }
    return table;
  }
  CommandResult train(const std::string& file, const std::string& options = "") {
    return fovea_tool(
        "train --task text-classification --overwrite --set model.kind=linear --set "
        "linear.epochs=3 --data " +
        file + " --out " + model() + " " + options);
  }
  std::string model() const { return (folder_.path() / "model").string(); }
  TemporaryFolder folder_;
};

TEST_F(Reading, TrainsOnATableWithAnIndexAndSaysSo) {
  const std::string file = folder_.write("a.csv", rows(",text,label\n", true));
  const CommandResult r = train(file, "--target label");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("the first column has no name"));
  EXPECT_THAT(r.err, HasSubstr("Text in column `text`, class in column `label`"));
}

TEST_F(Reading, AMissingTargetNamesTheHeader) {
  const CommandResult r = train(folder_.write("a.csv", rows("", false)), "--target label");
  EXPECT_EQ(r.code, 1);
  EXPECT_THAT(r.err, HasSubstr("data.header = \"yes\""));
  EXPECT_EQ(train(folder_.write("b.csv", rows("", false)), "--target column_2").code, 0);
}

TEST_F(Reading, RowsWithoutALabelAreLeftOutWhenAsked) {
  const std::string file =
      folder_.write("a.csv", rows("text,label\n", false) + "what is this,\nand this, \n");
  const CommandResult refused = train(file, "--target label");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("a.csv:22: expected a value in column label, found none, in 2 rows"));
  EXPECT_THAT(refused.err, HasSubstr("data.missing_target = \"skip\""));
  const CommandResult r = train(file, "--target label --set data.missing_target=skip");
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("2 rows without a value in column label are left out, the first on line 22"));
  EXPECT_EQ(fovea_tool("evaluate " + model()).code, 0) << "the recipe keeps the key";
  const CommandResult strict = fovea_tool("evaluate " + model() + " --data " + file);
  EXPECT_EQ(strict.code, 1);
  EXPECT_THAT(strict.err, HasSubstr("--missing-target skip"));
  const CommandResult skipped = fovea_tool("evaluate " + model() + " --missing-target skip --data " + file);
  ASSERT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_THAT(skipped.err, HasSubstr("2 rows without a label are left out"));
}

TEST_F(Reading, PredictReadsStandardInputWithEveryOption) {
  ASSERT_EQ(train(folder_.write("a.csv", rows("text,label\n", false)), "--target label").code, 0);
  const auto predict = [&](const std::string& bytes, const std::string& options) {
    return run_command("printf '" + bytes + "' | " FOVEA_BINARY_DIR "/bin/fovea predict " + model() + " - " +
                       options);
  };
  EXPECT_THAT(predict("text,label\\ngood film,pos\\n", "--format csv --json").out,
              HasSubstr("\"text\":\"good film\""));
  EXPECT_THAT(predict("{\"text\":\"good film\"}\\n", "--format jsonl --json").out,
              HasSubstr("\"text\":\"good film\""));
  EXPECT_THAT(predict("caf\\351\\n", "--encoding latin-1 --json").out, HasSubstr("\"text\":\"café\""));
  EXPECT_THAT(predict("\\357\\273\\277good\\n", "--json").out, HasSubstr("{\"text\":\"good\""));
  const CommandResult unknown = predict("good\\n", "--column nope");
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("expected a column \"nope\""));
  EXPECT_EQ(predict("good\\n", "--header maybe").code, 2);
}

TEST_F(Reading, PredictAnswersEveryLineOfPlainText) {
  ASSERT_EQ(train(folder_.write("a.csv", rows("text,label\n", false)), "--target label").code, 0);
  for (const char* name : {"lines", "lines.txt", "lines.md"}) {
    const CommandResult r =
        fovea_tool("predict " + model() + " " + folder_.write(name, "good, really\n\nbad film\n"));
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_EQ(lines_in(r.out), 3) << name;
  }
  EXPECT_EQ(
      lines_in(fovea_tool("predict " + model() + " " + folder_.write("t.csv", "text\ngood film\n")).out), 1);
}

TEST_F(Reading, LanguageModelsReadTheSameText) {
  std::string latin;
  std::string utf8;
  for (int i = 0; i < 60; ++i) {
    latin += "Das Caf\xE9 ist sch\xF6n.\n";
    utf8 += "Das Café ist schön.\n";
  }
  const auto learn = [&](const std::string& file, const std::string& options) {
    return fovea_tool(
        "train --task language-model --overwrite --out " + model() + " --data " + file +
        " --set model.layers=1 --set model.width=16 --set model.heads=2 --set model.context=16 --set "
        "train.epochs=1 " +
        options);
  };
  std::string expected;
  for (const auto& [bytes, options] : std::vector<std::pair<std::string, std::string>>{
           {utf8, ""}, {"\xEF\xBB\xBF" + utf8, ""}, {latin, ""}, {latin, "--set data.encoding=latin-1"}}) {
    const CommandResult r = learn(folder_.write("t.txt", bytes), options);
    ASSERT_EQ(r.code, 0) << r.err;
    const std::string tokens = r.err.substr(r.err.find("Running text"), 120);
    const std::string figures = tokens.substr(0, tokens.find('\n'));
    if (expected.empty()) expected = figures;
    EXPECT_EQ(figures, expected) << options;
  }
  const CommandResult evaluated =
      fovea_tool("evaluate " + model() + " --data " + folder_.write("u.txt", latin));
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  const std::string file = folder_.write("v.txt", utf8);
  EXPECT_EQ(evaluated.out, fovea_tool("evaluate " + model() + " --data " + file).out);
  EXPECT_EQ(fovea_tool("evaluate " + model() + " --header no --data " + file).code, 2);
  const CommandResult gzip = learn(folder_.write("t.txt", "\x1F\x8B\x08rest"), "");
  EXPECT_EQ(gzip.code, 1);
  EXPECT_THAT(gzip.err, HasSubstr("a gzip file"));
}

TEST_F(Reading, DataVerbsReadStandardInput) {
  const CommandResult r = run_command("printf 'text,label\\na b,x\\nc d,y\\n' | " FOVEA_BINARY_DIR
                                      "/bin/fovea data check - --target label");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("standard input: 2 rows, csv"));
}

}  // namespace
}  // namespace fovea
