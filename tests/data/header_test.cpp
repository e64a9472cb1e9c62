// Which first rows are headers, and what their columns are called.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/data/check.hpp"
#include "fovea/data/read.hpp"
#include "fovea/formats/file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(const std::string& text, const ReadOptions& options = {}) {
  return parse_table(text, "d.csv", options).table.names();
}

bool has_header(const std::string& text, const ReadOptions& options = {}) {
  return parse_table(text, "d.csv", options).report.header == Header::kPresent;
}

TEST(Header, IndexColumnsOfPandasAndR) {
  const auto pandas = parse_table(",text,label\n0,good film,pos\n1,bad film,neg\n", "d.csv");
  EXPECT_THAT(pandas.table.names(), ElementsAre("column_1", "text", "label"));
  EXPECT_EQ(pandas.table.index_column(), 0);
  EXPECT_EQ(pandas.table.rows(), 2);
  EXPECT_THAT(pandas.report.to_text(), HasSubstr("the first column has no name, as pandas and R write row"));
  const std::string rows = "\"1\",\"good film\",\"pos\"\n\"2\",\"bad film\",\"neg\"\n";
  EXPECT_THAT(names("\"\",\"text\",\"label\"\n" + rows), ElementsAre("column_1", "text", "label"));
  EXPECT_THAT(names("\"text\",\"label\"\n" + rows), ElementsAre("column_1", "text", "label"));
  EXPECT_THAT(names("\"text\" \"label\"\n\"1\" \"good film\" \"pos\"\n\"2\" \"bad film\" \"neg\"\n"),
              ElementsAre("column_1", "text", "label"));
  const Table again = parse_table("Unnamed: 0,text,label\n0,a b,pos\n1,b c,neg\n", "d.csv").table;
  EXPECT_EQ(again.index_column(), 0);
  EXPECT_EQ(names("Unnamed: 0,text\n0,a b\n")[0], "Unnamed: 0");
  EXPECT_THAT(names(",0,1\n0,good film,pos\n1,bad film,neg\n"), ElementsAre("column_1", "0", "1"));
  EXPECT_THAT(names("0,1\ngood film,pos\nbad film,neg\n"), ElementsAre("0", "1"));
}

TEST(Header, AnIndexIsNoInputOfCheckAndIsWrittenWithoutAName) {
  const Table table = parse_table(",text,label\n0,same,pos\n1,same,pos\n", "d.csv").table;
  EXPECT_EQ(check(table, {.target = "label"}).count(FindingKind::kDuplicate), 1);
  const TemporaryFolder folder;
  write_csv(table, folder.path() / "part.csv");
  EXPECT_EQ(folder.read("part.csv"), ",text,label\n0,same,pos\n1,same,pos\n");
  EXPECT_EQ(read_table(folder.path() / "part.csv").table.index_column(), 0);
}

TEST(Header, EmptyAndRepeatedNames) {
  const auto empty = parse_table("text,label,,\ngood film,pos,,\nbad film,neg,,\n", "d.csv");
  EXPECT_THAT(empty.table.names(), ElementsAre("text", "label", "column_3", "column_4"));
  EXPECT_THAT(empty.report.to_text(),
              HasSubstr("columns without a name are called by their place: column_3, column_4"));
  EXPECT_THAT(names("text,,label\na b,note,x\nc d,,y\n"), ElementsAre("text", "column_2", "label"));
  const auto twice = parse_table("text,label,label,label_2\na b,1x,2x,3x\n", "d.csv");
  EXPECT_THAT(twice.table.names(), ElementsAre("text", "label", "label_3", "label_2"));
  EXPECT_THAT(twice.report.to_text(),
              HasSubstr("columns with the name of an earlier one are called label_3"));
  EXPECT_THAT(names(" text , label \na b,1x\n"), ElementsAre("text", "label"));
}

TEST(Header, LongNames) {
  const std::string question =
      "How satisfied are you with our service, all in all, and with the people there?";
  EXPECT_THAT(names("\"" + question + "\",group\nvery,a\nnot at all,b\n"), ElementsAre(question, "group"));
  const std::string statement(100, 'x');
  EXPECT_TRUE(has_header(statement + ",b\nshort,1x\nshort too,2x\n"));
  EXPECT_FALSE(has_header(std::string(90, 'a') + ",one\n" + std::string(95, 'b') + ",two\n"));
}

TEST(Header, NamesThatAreValuesToo) {
  EXPECT_TRUE(has_header("text,label\ntext,pos\nbad film,neg\nfine,label\n"));
  EXPECT_TRUE(has_header("text,label\ngood,label\nbad,label\n"));
  EXPECT_FALSE(has_header("pos,what a film\nneg,never again\npos,lovely\n"));
  EXPECT_FALSE(has_header("text,what is this\nimage,a picture\ntext,more of it\n"));
}

TEST(Header, WordsAboveNumbersAreNamesAndNumbersAreNone) {
  EXPECT_TRUE(has_header("name,age,2019\nann,34,5\nbob,35,6\n"));
  EXPECT_TRUE(has_header("size,price\n1,2\n3,4\n"));
  EXPECT_FALSE(has_header("1,good\n2,bad\n"));
  EXPECT_FALSE(has_header("NA,good film\n2,bad film\n3,good film\n"));
  EXPECT_FALSE(has_header("2019,2020\n1,2\n3,4\n"));
  EXPECT_FALSE(has_header(",,\na,b,c\n"));
}

TEST(Header, AWantedColumnMakesTheRowAHeader) {
  const std::string text = "2019,label\n1,pos\n2,label\n";
  EXPECT_TRUE(has_header(text, {.wanted = {"label"}}));
  EXPECT_TRUE(has_header("x,x\nx,x\n", {.wanted = {"x"}}));
  try {
    parse_table("good,pos\nbad,neg\ngood,pos\n", "d.csv", {.wanted = {"label"}})
        .table.require_column("label");
    FAIL() << "expected no such column";
  } catch (const DataError& error) {
    EXPECT_STREQ(
        error.what(),
        "d.csv: expected a column \"label\", found column_1, column_2; the first row was not taken for "
        "a header: if it is one, say --header yes (data.header = \"yes\")");
  }
}

TEST(Header, MessagesListTenColumnsAndEscapeThem) {
  std::string text;
  for (int i = 1; i <= 30; ++i) text += (i > 1 ? ",c" : "\x1B[31mred,c") + std::to_string(i);
  text += "\n";
  for (int i = 0; i <= 30; ++i) text += i > 0 ? ",v x" : "v x";
  try {
    parse_table(text + "\n", "d.csv", {.header = Header::kPresent}).table.require_column("nope");
    FAIL() << "expected no such column";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("found \\x1b[31mred, c1, c2"));
    EXPECT_THAT(error.what(), HasSubstr(" … and 21 more"));
  }
}

TEST(Header, SeparatorLineOfSpreadsheets) {
  for (const char* first : {"sep=;\n", "\"sep=;\"\r\n", "sep=;\r\n"}) {
    const auto [table, report] = parse_table(first + std::string("text;label\na,b;c\nd,e;f\n"), "d.csv");
    EXPECT_THAT(table.names(), ElementsAre("text", "label")) << first;
    EXPECT_EQ(report.delimiter, ';');
    EXPECT_EQ(table.line(0), 3);
  }
  EXPECT_EQ(parse_table("sep=\\t\na\tb\nc,c\td\n", "d.csv").report.delimiter, '\t');
}

TEST(Texts, AFirstLineOfPlainTextIsNoHeader) {
  const ReadOptions texts{.purpose = Purpose::kTexts, .wanted = {"text"}};
  const auto rows = [&](const std::string& text, std::string_view name) {
    return parse_table(text, name, texts).table.rows();
  };
  for (const char* name : {"lines", "lines.txt", "lines.log", "lines.md", "/dev/fd/63", "lines.csv"}) {
    EXPECT_EQ(rows("good film\nbad film\nfine film\n", name), 3) << name;
  }
  EXPECT_EQ(rows("good, really\nbad film\n", "commas"), 2);
  EXPECT_EQ(rows("he said \"no\nbad film\n", "quote"), 2);
  EXPECT_EQ(rows("{braces} are text\nbad film\n", "brace"), 2);
  EXPECT_EQ(rows("{\"text\": \"an object\"}\n", "objects"), 1);
  EXPECT_EQ(parse_table("{\"text\": \"an object\"}\n", "objects", texts).report.format,
            FileFormat::kJsonLines);
  EXPECT_EQ(rows("text\ngood, really\nbad film\n", "column"), 2);
  EXPECT_EQ(rows("id;text\n1;good\n2;bad\n", "table"), 2);
  EXPECT_EQ(rows("text\ngood film\n", "d.csv"), 1);
}

}  // namespace
}  // namespace fovea::data
