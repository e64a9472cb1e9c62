#include "fovea/data/records.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "fovea/base/error.hpp"

namespace fovea::data {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// Bytes that arrive in pieces; `reads` counts how often one was waited for.
class Pieces {
 public:
  explicit Pieces(std::deque<std::string> pieces) : pieces_(std::move(pieces)) {}
  // The text in pieces of one size.
  Pieces(const std::string& text, size_t size) {
    for (size_t i = 0; i < text.size(); i += size) pieces_.push_back(text.substr(i, size));
  }

  ByteSource source() {
    return [this](std::span<char> out) -> size_t {
      ++reads;
      if (pieces_.empty()) return 0;
      const std::string piece = pieces_.front().substr(0, out.size());
      pieces_.front().erase(0, piece.size());
      if (pieces_.front().empty()) pieces_.pop_front();
      std::copy(piece.begin(), piece.end(), out.begin());
      return piece.size();
    };
  }
  int reads = 0;

 private:
  std::deque<std::string> pieces_;
};

// "line: cell | cell" of each record, errors by their message.
std::vector<std::string> read_all(const std::string& text, const ReadOptions& options = {},
                                  size_t piece = 1) {
  Pieces pieces(text, piece);
  RecordReader reader(pieces.source(), "standard input", options);
  std::vector<std::string> records;
  Record record;
  while (true) {
    try {
      if (!reader.next(record)) return records;
      records.push_back(fmt::format("{}: {}", record.line, fmt::join(record.cells, " | ")));
    } catch (const DataError& error) {
      records.emplace_back(error.what());
      if (records.size() > 20) return records;
    }
  }
}

TEST(Records, EachLineIsGivenBeforeTheNextArrives) {
  Pieces pieces({"good film\n", "bad film\n", "last"});
  RecordReader reader(pieces.source(), "standard input", {});
  Record record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_THAT(record.cells, ElementsAre("good film"));
  EXPECT_EQ(pieces.reads, 1);
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(pieces.reads, 2);
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(*record.find("text"), "last");
  EXPECT_FALSE(reader.next(record));
}

TEST(Records, CsvRowsAreGivenAsTheyCome) {
  Pieces pieces({"id,text\n", "1,\"two\nlines, and \"\"quotes\"\"\"\n", "2,plain\r", "\n3,end"});
  RecordReader reader(pieces.source(), "standard input", {.format = FileFormat::kCsv, .wanted = {"text"}});
  Record record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(*record.find("text"), "two\nlines, and \"quotes\"");
  EXPECT_EQ(record.line, 2);
  EXPECT_EQ(pieces.reads, 2);
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(*record.find("text"), "plain");
  EXPECT_EQ(pieces.reads, 3);
  EXPECT_EQ(record.line, 4);
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(*record.find("text"), "end");
  EXPECT_EQ(record.line, 5);
  EXPECT_EQ(reader.report().header, Header::kPresent);
  EXPECT_EQ(reader.report().rows, 3);
}

TEST(Records, PiecesOfAnySizeGiveTheSame) {
  const std::string csv = "text,n\r\n\"a\r\n\"\"b\"\"\",1\r\n\r\nü \"x\" y,2\r\n\"\",3";
  const std::vector<std::string> rows{"2: a\r\n\"b\" | 1", "5: ü \"x\" y | 2", "6:  | 3"};
  const std::string json = "{\"text\":\"a\",\"n\":1}\n\n{\"n\":2,\"text\":\"ü\"}";
  const std::string lines = "one\r\n\n \nfour";
  for (const size_t piece : {1, 2, 3, 5, 1000}) {
    EXPECT_EQ(read_all(csv, {.format = FileFormat::kCsv}, piece), rows) << piece;
    EXPECT_THAT(read_all(json, {.format = FileFormat::kJsonLines}, piece),
                ElementsAre("1: a | 1", "3: 2 | ü"));
    EXPECT_THAT(read_all(lines, {}, piece), ElementsAre("1: one", "2: ", "3:  ", "4: four"));
  }
}

TEST(Records, AgreeWithTheWholeTable) {
  for (const std::string& csv : {"text,label\na,b\nc,d\n"s, "sep=;\ntext;label\na,b;c\n"s,
                                 "\"text\"\t\"label\"\n\"1\"\t\"a\"\t\"b\"\n"s, "text|label\n\"x|y\"|z"s,
                                 "text,label,\na,b,\n"s, ",text\n0,a\n1,b\n"s}) {
    const ReadOptions options{.format = FileFormat::kCsv, .wanted = {"text"}};
    const Table table = parse_table(csv, "d.csv", options).table;
    Pieces pieces(csv, 1);
    RecordReader reader(pieces.source(), "d.csv", options);
    Record record;
    for (int64_t r = 0; r < table.rows(); ++r) {
      ASSERT_TRUE(reader.next(record)) << csv;
      EXPECT_EQ(*record.names, table.names()) << csv;
      EXPECT_EQ(record.line, table.line(r)) << csv;
      for (int64_t c = 0; c < table.columns(); ++c) {
        EXPECT_EQ(record.cells[static_cast<size_t>(c)], table.cell(r, c)) << csv;
      }
    }
    EXPECT_FALSE(reader.next(record)) << csv;
  }
}

TEST(Records, BlankLinesOfTextAreTextsAndOfTablesNone) {
  Pieces pieces("a\n\nb\n", 2);
  RecordReader reader(pieces.source(), "standard input", {});
  Record record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_FALSE(record.blank);
  ASSERT_TRUE(reader.next(record));
  EXPECT_TRUE(record.blank);
  EXPECT_EQ(record.line, 2);
  ASSERT_TRUE(reader.next(record));
  EXPECT_FALSE(record.blank);
  EXPECT_THAT(read_all("a,b\n1,2\n\n   \n3,4\n", {.format = FileFormat::kCsv, .wanted = {"a"}}),
              ElementsAre("2: 1 | 2", "5: 3 | 4"));
}

TEST(Records, EncodingsAndMarks) {
  EXPECT_THAT(read_all("\xEF\xBB\xBFgood\n"), ElementsAre("1: good"));
  EXPECT_THAT(read_all("caf\xE9 \x80\n"), ElementsAre("1: café €"));
  EXPECT_THAT(read_all("caf\xE9\n", {.encoding = TextEncoding::kLatin1}), ElementsAre("1: café"));
  EXPECT_THAT(read_all("\xFF\xFEg\0\xFC\0\n\0\x3D\xD8\x00\xDE"s), ElementsAre("1: gü", "2: 😀"));
  EXPECT_THAT(read_all("g\0o\0\n\0o\0d\0"s), ElementsAre("1: go", "2: od"));
  EXPECT_THAT(read_all("\0g\0o\0\n\0x"s), ElementsAre("1: go", "2: x"));
  // A stray byte behind valid characters is replaced, and counted.
  Pieces pieces("caf\xC3\xA9\nbad \xFF byte\n", 4);
  RecordReader reader(pieces.source(), "standard input", {});
  Record record;
  ASSERT_TRUE(reader.next(record) && reader.next(record));
  EXPECT_EQ(record.cells[0], "bad \xEF\xBF\xBD byte");
  EXPECT_EQ(reader.report().replaced, 1);
  EXPECT_EQ(reader.report().replaced_line, 2);
}

TEST(Records, ABadRecordIsNamedAndThoseBehindItAreRead) {
  EXPECT_THAT(
      read_all("text,label\na,b\nc\nd,e\n", {.format = FileFormat::kCsv}),
      ElementsAre("2: a | b", StartsWith("standard input:3: expected 2 fields, found 1"), "4: d | e"));
  EXPECT_THAT(read_all("{\"a\":1}\nnope\n{\"a\":2}\n", {.format = FileFormat::kJsonLines}),
              ElementsAre("1: 1", StartsWith("standard input:2: expected a JSON object"), "3: 2"));
}

TEST(Records, EndlessInputMeetsItsBound) {
  const ByteSource endless = [](std::span<char> out) {
    std::fill(out.begin(), out.end(), 'x');
    return out.size();
  };
  for (const FileFormat format : {FileFormat::kLines, FileFormat::kCsv, FileFormat::kJsonLines}) {
    RecordReader reader(endless, "standard input", {.format = format, .max_cell_bytes = 100'000});
    Record record;
    try {
      reader.next(record);
      FAIL() << "expected a bound";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("standard input:1: expected a record of at most"));
    }
  }
  RecordReader zeros([](std::span<char> out) { return std::fill(out.begin(), out.end(), '\0'), out.size(); },
                     "standard input", {});
  Record record;
  EXPECT_THROW(zeros.next(record), DataError);
}

TEST(Records, TheTextColumnIsFoundOrAskedFor) {
  const auto column = [](const std::string& text, const ReadOptions& options, std::string_view asked) {
    Pieces pieces(text, 7);
    RecordReader reader(pieces.source(), "standard input", options);
    Record record;
    EXPECT_TRUE(reader.next(record));
    try {
      return reader.text_column(record, asked, "review");
    } catch (const DataError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(column("good\n", {}, ""), "text");
  EXPECT_EQ(column("id,review\n1,good\n", {.format = FileFormat::kCsv}, ""), "review");
  EXPECT_EQ(column("id,review\n1,good\n", {.format = FileFormat::kCsv}, "id"), "id");
  EXPECT_EQ(
      column("good\n", {}, "nope"),
      "standard input:1: expected a column \"nope\", found text; it was read as plain text, a text a line: "
      "for a table say --format csv or jsonl");
  EXPECT_EQ(
      column("id,body\n1,good\n", {.format = FileFormat::kCsv}, ""),
      "standard input:2: expected a column \"review\", found id, body; name the column of the texts with "
      "--column; the first row was taken for the header: if it is data, say --header no (data.header = "
      "\"no\")");
}

}  // namespace
}  // namespace fovea::data
