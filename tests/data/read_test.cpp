#include "fovea/data/read.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"
#include "fovea/formats/file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::data {
namespace {

// A folder of this process: test processes run side by side.
const std::filesystem::path& own_folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

using namespace std::string_literals;
using testing::ElementsAre;

std::vector<std::string> row(const Table& table, int64_t r) {
  std::vector<std::string> cells;
  for (int64_t c = 0; c < table.columns(); ++c) cells.emplace_back(table.cell(r, c));
  return cells;
}

std::string error_of(std::string text, std::string_view source = "d.csv", const ReadOptions& options = {}) {
  try {
    parse_table(std::move(text), source, options);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

std::filesystem::path temporary(const char* name) {
  return own_folder() / name;
}

TEST(Csv, QuotesNewlinesAndDoubledQuotes) {
  const auto [table, report] = parse_table("text,label\n\"a, \"\"b\"\"\nc\",x\nplain,\"\"\n", "d.csv");
  ASSERT_EQ(table.rows(), 2);
  EXPECT_THAT(table.names(), ElementsAre("text", "label"));
  EXPECT_THAT(row(table, 0), ElementsAre("a, \"b\"\nc", "x"));
  EXPECT_THAT(row(table, 1), ElementsAre("plain", ""));
  EXPECT_EQ(table.line(0), 2);
  EXPECT_EQ(table.line(1), 4);
  EXPECT_EQ(table.where(1), "d.csv:4");
  EXPECT_EQ(report.header, Header::kPresent);
}

TEST(Csv, LineEndsMarksAndBlankLines) {
  for (const std::string& text : {"a,b\r\n1x,2\r\n\r\n3,4\r\n"s, "a,b\r1x,2\r\r3,4"s,
                                  "\xEF\xBB\xBF"
                                  "a,b\n1x,2\n\n3,4"s}) {
    const auto [table, report] = parse_table(text, "d.csv");
    EXPECT_THAT(table.names(), ElementsAre("a", "b")) << text;
    ASSERT_EQ(table.rows(), 2) << text;
    EXPECT_THAT(row(table, 1), ElementsAre("3", "4"));
    EXPECT_EQ(table.line(1), 4);
    EXPECT_EQ(report.blank_lines, 1);
    EXPECT_EQ(report.byte_order_mark, text[0] == '\xEF');
  }
}

TEST(Csv, DelimitersAreFound) {
  for (const char d : {',', ';', '\t', '|'}) {
    std::string text = "id"s + d + "text" + d + "label\n";
    for (int i = 0; i < 20; ++i) text += fmt::format("k{0}{1}\"some, text; with | others\t\"{1}yes\n", i, d);
    const auto [table, report] = parse_table(text, "d.csv");
    EXPECT_EQ(report.delimiter, d);
    EXPECT_EQ(table.columns(), 3);
    EXPECT_EQ(table.rows(), 20);
  }
  EXPECT_EQ(parse_table("text\nhello there\nand more\n", "d.csv").table.columns(), 1);
  EXPECT_EQ(parse_table("a\tb, c\nd\te\n", "d.tsv").table.columns(), 2);
  ReadOptions options;
  options.delimiter = '|';
  EXPECT_EQ(parse_table("a,b|c,d\n1,2|3,4\n", "d.csv", options).table.columns(), 2);
}

TEST(Csv, HeadersAreFound) {
  EXPECT_EQ(parse_table("1,good\n2,bad\n", "d.csv").report.header, Header::kAbsent);
  EXPECT_THAT(parse_table("1,good\n2,bad\n", "d.csv").table.names(), ElementsAre("column_1", "column_2"));
  EXPECT_EQ(parse_table("pos,what a film\nneg,never again\npos,lovely\n", "d.csv").report.header,
            Header::kAbsent);
  EXPECT_EQ(parse_table("label,text\nneg,never again\npos,lovely\n", "d.csv").report.header,
            Header::kPresent);
  ReadOptions options;
  options.header = Header::kAbsent;
  options.names = {"label", "text"};
  const auto [table, report] = parse_table("a,b\nc,d\n", "d.csv", options);
  EXPECT_EQ(table.rows(), 2);
  EXPECT_THAT(table.names(), ElementsAre("label", "text"));
}

TEST(Csv, ColumnTypesAreFound) {
  std::string text = "note,kind,price,count,day\n";
  for (int i = 0; i < 30; ++i) {
    text += "some sentence number " + std::to_string(i) + "," + (i % 2 ? "a" : "b") + "," +
            std::to_string(i) + ".5," + std::to_string(i) + ",2024-02-" + (i % 28 < 9 ? "0" : "") +
            std::to_string(i % 28 + 1) + "\n";
  }
  ReadOptions options;
  options.types["count"] = ColumnType::kCategory;
  const auto report = parse_table(text, "d.csv", options).report;
  EXPECT_EQ(report.columns[0].type, ColumnType::kText);
  EXPECT_EQ(report.columns[1].type, ColumnType::kCategory);
  EXPECT_EQ(report.columns[2].type, ColumnType::kNumber);
  EXPECT_EQ(report.columns[3].type, ColumnType::kCategory);
  EXPECT_EQ(report.columns[4].type, ColumnType::kDate);
  EXPECT_EQ(report.columns[1].distinct, 2);
  EXPECT_THAT(report.to_text(), testing::HasSubstr("d.csv: 30 rows, csv with ',', header, utf-8"));
  EXPECT_THAT(report.to_json(), testing::HasSubstr("\"rows\":30"));
}

TEST(Csv, MistakesNameTheirLine) {
  EXPECT_EQ(error_of("a,b,c\n1x,2,3\n4,5,6,7\n"),
            "d.csv:3: expected 3 fields, found 4; quote fields that hold ',' or a line break, or name "
            "another delimiter (--delimiter, data.delimiter)");
  EXPECT_THAT(error_of("a,b\nc,\"d\n\n\n"),
              testing::StartsWith("d.csv:2: expected the quote that opens a cell here to close"));
  EXPECT_THAT(error_of("a,b\nc,\"d\"e\n"),
              testing::StartsWith("d.csv:2: expected a delimiter after a closing quote, found 'e'"));
  EXPECT_EQ(error_of(""), "d.csv: expected rows, found an empty file; was it written to the end?");
  EXPECT_EQ(error_of("\n\r\n"),
            "d.csv: expected rows, found only blank lines; add rows, or name another file");
  EXPECT_EQ(error_of("text,label\n"),
            "d.csv: expected rows, found only a header; add rows, or name another file");
  EXPECT_THAT(error_of("\x1F\x8B\x08 data"), testing::HasSubstr("found a gzip file; decompress it first"));
  EXPECT_THAT(error_of("text,label\na,b\n", "d.csv", {.types = {{"lable", ColumnType::kText}}}),
              testing::HasSubstr("expected a column \"lable\", found text, label; did you mean \"label\"?"));
}

TEST(Csv, NoQuotingReadsQuotesAsTheyAre) {
  ReadOptions options;
  options.quoting = Quoting::kNone;
  const auto [table, report] = parse_table("a\tb\n\"x\t2\n", "d.tsv", options);
  EXPECT_THAT(row(table, 0), ElementsAre("\"x", "2"));
}

TEST(Csv, TenMegabyteCell) {
  const std::string big(10 << 20, 'x');
  EXPECT_EQ(error_of("text,label\nshort,a\n" + big + ",b\n"),
            "d.csv:3: expected a cell of at most 4194304 bytes, found 10485760; close the quote that opens "
            "it, or read the file with --quoting none (data.quoting = \"none\")");
  EXPECT_THAT(error_of("text,label\nshort,a\n\"" + big + "\",b\n"),
              testing::StartsWith("d.csv:3: expected a cell of at most"));
  EXPECT_THAT(error_of("text,label\nshort,a\n\"open\n" + big),
              testing::StartsWith("d.csv:3: expected a cell of at most"));
  ReadOptions options;
  options.max_cell_bytes = 20 << 20;
  EXPECT_EQ(parse_table("text,label\n" + big + ",b\n", "d.csv", options).table.cell(0, 0).size(), big.size());
  EXPECT_THAT(error_of("{\"text\":\"" + big + "\"}\n", "d.jsonl"),
              testing::StartsWith("d.jsonl:1: expected a cell of at most"));
  EXPECT_THAT(error_of(big, "d.txt"), testing::StartsWith("d.txt:1: expected a line of at most"));
  EXPECT_EQ(parse_table(big, "d.txt", {.format = FileFormat::kDocument}).table.cell(0, 0).size(), big.size());
}

TEST(Encodings, AreFoundAndTurnedIntoUtf8) {
  const auto cell = [](std::string bytes, const ReadOptions& options = {}) {
    return std::string(parse_table(std::move(bytes), "d.txt", options).table.cell(0, 0));
  };
  EXPECT_EQ(cell("gr\xC3\xBC\xC3\x9F"), "grüß");
  EXPECT_EQ(cell("gr\xFC\xDF"), "grüß");
  EXPECT_EQ(cell("\xFF\xFEg\0\xFC\0"s), "gü");
  EXPECT_EQ(cell("\xFE\xFF\0g\0\xFC"s), "gü");
  EXPECT_EQ(cell("\xFF\xFE\x3D\xD8\x00\xDE"s), "😀");
  EXPECT_EQ(parse_table("gr\xFC\xDF", "d.txt").report.encoding, TextEncoding::kWindows1252);
  EXPECT_EQ(cell("gr\xFC\xDF", {.encoding = TextEncoding::kUtf8}), "gr\xEF\xBF\xBD\xEF\xBF\xBD");
  std::string mostly;
  for (int i = 0; i < 2000; ++i) mostly += "ü";
  EXPECT_EQ(parse_table(mostly + "\xFF", "d.txt").report.encoding, TextEncoding::kUtf8);
}

TEST(JsonLines, EveryKindOfValue) {
  const auto [table, report] = parse_table(
      "{\"text\":\"a\\nb\\u00fc\",\"n\":1.50,\"i\":-3,\"b\":true,\"none\":null,\"list\":[1,{\"k\":\"v\\\"\"},"
      "[]],\"o\":{}}\n"
      "\n{\"text\":\"second\",\"extra\":\"e\"}\r\n",
      "d.jsonl");
  EXPECT_THAT(table.names(), ElementsAre("text", "n", "i", "b", "none", "list", "o", "extra"));
  EXPECT_THAT(row(table, 0),
              ElementsAre("a\nbü", "1.50", "-3", "true", "", "[1,{\"k\":\"v\\\"\"},[]]", "{}", ""));
  EXPECT_THAT(row(table, 1), ElementsAre("second", "", "", "", "", "", "", "e"));
  EXPECT_EQ(table.line(1), 3);
  EXPECT_EQ(report.blank_lines, 1);
}

TEST(JsonLines, MistakesNameTheirLine) {
  EXPECT_THAT(error_of("{\"a\":1}\n{\"a\":}\n", "d.jsonl"),
              testing::StartsWith("d.jsonl:2: expected a JSON object on this line"));
  EXPECT_THAT(error_of("{\"a\":1}\n[1]\n", "d.jsonl"),
              testing::StartsWith("d.jsonl:2: expected a JSON object on this line, found another value"));
  EXPECT_THAT(error_of("3\n", "d.jsonl"),
              testing::StartsWith("d.jsonl:1: expected a JSON object on this line, found another value"));
  EXPECT_THAT(error_of("{\"a\":1,\"a\":2}\n", "d.jsonl"), testing::HasSubstr("found \"a\" twice"));
  EXPECT_THAT(error_of("{\"a\":1} {\"b\":2}\n", "d.jsonl"),
              testing::StartsWith("d.jsonl:1: expected a JSON object"));
  EXPECT_THAT(error_of("{\"a\":" + std::string(100000, '[') + "\n", "d.jsonl"),
              testing::HasSubstr("at most 64 levels"));
  EXPECT_THAT(error_of("{\"a\":1e999}\n", "d.jsonl"), testing::StartsWith("d.jsonl:1: expected"));
  EXPECT_THAT(error_of("{}", "d.jsonl"), "");
}

TEST(JsonLines, InvalidBytesAreReplacedAndCounted) {
  const auto [table, report] =
      parse_table("{\"a\":\"x\xFF\"}\n{\"a\":\"ok\"}\n", "d.jsonl", {.encoding = TextEncoding::kUtf8});
  EXPECT_EQ(table.cell(0, 0), "x\xEF\xBF\xBD");
  EXPECT_EQ(report.replaced, 1);
  EXPECT_EQ(report.replaced_line, 1);
}

TEST(PlainText, LinesOrOneDocument) {
  const auto lines = parse_table("one\r\n\ntwo", "d.txt");
  EXPECT_THAT(lines.table.names(), ElementsAre("text"));
  EXPECT_THAT(lines.table.column(0), ElementsAre("one", "", "two"));
  EXPECT_EQ(lines.table.line(2), 3);
  EXPECT_EQ(lines.report.blank_lines, 1);
  EXPECT_THAT(lines.report.to_text(), testing::HasSubstr("1 blank lines taken as empty texts"));
  const auto document = parse_table("one\n\ntwo", "d.txt", {.format = FileFormat::kDocument});
  EXPECT_EQ(document.table.rows(), 1);
  EXPECT_EQ(document.table.cell(0, 0), "one\n\ntwo");
}

TEST(ReadTable, FilesThatCannotBeRead) {
  const auto message = [](const std::filesystem::path& path, const ReadOptions& options = {}) {
    try {
      read_table(path, options);
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message("/nowhere/d.csv"), "/nowhere/d.csv: expected a file, found none; check the path");
  EXPECT_EQ(message(testing::TempDir()),
            testing::TempDir() + ": expected a file, found a directory; name the file within it");
  const auto path = temporary("locked.csv");
  formats::write_atomically(path, "text,label\na,b\n");
  EXPECT_THAT(message(path, {.max_file_bytes = 5}), testing::HasSubstr("expected at most 5 bytes, found 15"));
  if (::geteuid() != 0) {  // root reads everything
    ::chmod(path.c_str(), 0);
    EXPECT_THAT(message(path), testing::HasSubstr("this user may not read"));
  }
}

TEST(WriteCsv, ReadsBackTheSame) {
  const std::vector<std::string> nasty{"plain",    "",      "a,b",     "say \"hi\"", "two\nlines",
                                       "cr\rhere", "tab\t", " space ", "ü",          "\""};
  const Table table = Table::from_columns({"x", "y,z"}, {nasty, {nasty.rbegin(), nasty.rend()}});
  const auto path = temporary("written.csv");
  for (const char delimiter : {',', '\t', ';'}) {
    write_csv(table, path, delimiter);
    const auto read = read_table(path, {.delimiter = delimiter, .header = Header::kPresent}).table;
    EXPECT_EQ(read.names(), table.names());
    ASSERT_EQ(read.rows(), table.rows());
    for (int64_t r = 0; r < table.rows(); ++r) EXPECT_EQ(row(read, r), row(table, r));
  }
  const Table one = Table::from_columns({"x"}, {nasty});
  write_csv(one, path);
  EXPECT_EQ(read_table(path, {.delimiter = ',', .header = Header::kPresent}).table.rows(), one.rows());
}

TEST(Table, SelectsSharesAndAdds) {
  const Table table = Table::from_columns({"a", "b"}, {{"1", "2", "3"}, {"x", "y", "z"}}, {10, 20, 30}, "t");
  const int64_t rows[] = {2, 0};
  const Table some = table.select_rows(rows);
  EXPECT_THAT(row(some, 0), ElementsAre("3", "z"));
  EXPECT_EQ(some.where(0), "t:30");
  const std::string names[] = {"b"};
  EXPECT_THAT(row(table.select_columns(names), 1), ElementsAre("y"));
  EXPECT_THAT(row(table.with_column("c", {"p", "q", "r"}), 2), ElementsAre("3", "z", "r"));
  const int64_t bad[] = {3};
  EXPECT_THROW(table.select_rows(bad), ArgumentError);
  EXPECT_THROW(Table::from_columns({"a", "a"}, {{}, {}}), ArgumentError);
  EXPECT_THROW(Table::from_columns({"a"}, {{"1"}, {"2"}}), ArgumentError);
  EXPECT_THROW(table.with_column("a", {"p", "q", "r"}), ArgumentError);
  EXPECT_THROW(table.require_column("c"), DataError);
}

// Thirty megabytes: well under half a second on one core of any machine of the last ten years; the bound here
// is wide enough for a sanitizer.
TEST(Csv, SixtyThousandRowsAreQuick) {
  std::string text = "text,label\n";
  Random random(1);
  for (int i = 0; i < 60000; ++i) {
    std::string cell(490, 'a');
    for (size_t k = random.below(9); k < cell.size(); k += 2 + random.below(9)) cell[k] = ' ';
    cell[100] = ',';
    text += "\"" + cell + "\"\"\",l" + std::to_string(i % 20) + "\n";
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto [table, report] = parse_table(std::move(text), "d.csv");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(table.rows(), 60000);
  RecordProperty("seconds", std::to_string(seconds.count()));
  EXPECT_LT(seconds.count(), 5.0);
}

}  // namespace
}  // namespace fovea::data
