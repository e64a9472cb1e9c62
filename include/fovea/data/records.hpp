// Records one at a time, as they come: for standard input and pipes that somebody writes to while an answer
// is waited for. Nothing is read ahead of the record that is asked for but what has already arrived, so what
// a whole table would tell is decided by its beginning (docs/formats/tables.md).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/read.hpp"

namespace fovea::data {

// One row, or one line of plain text, with its cells copied.
struct Record {
  int64_t line = 0;  // where it begins, 1-based
  bool blank =
      false;  // a line of plain text with nothing but spaces: an empty text, to be answered like others
  std::shared_ptr<const std::vector<std::string>> names;  // of the columns, shared between records
  std::vector<std::string> cells;                         // of names' length; valid UTF-8

  // The cell under a name; null when there is none.
  const std::string* find(std::string_view name) const;
};

// Not for use by two threads at once.
class RecordReader {
 public:
  // `name` stands in messages and decides by its ending, as a file's. options as for read_table, with these
  // differences: unset, the format is CSV when a delimiter or `header` is given, otherwise what the ending
  // says, otherwise lines; unset, CSV has a header exactly when its first row has one of options.wanted, or
  // when it has several cells, none of them a number; without a mark, each record is UTF-8 or Windows-1252 by
  // the bytes up to it. ArgumentError: kDocument, several names for lines.
  RecordReader(ByteSource source, std::string name, ReadOptions options);
  ~RecordReader();
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  // The next record; false at the end. Waits for the bytes that the record needs and no more. Blank lines are
  // skipped in CSV and JSON Lines, and are records of plain text. DataError "name:line: …" for a record that
  // read_table would refuse; the call after it goes on behind that record, except after one that is larger
  // than options.max_cell_bytes (four times that for a row of CSV), from which there is no way on.
  bool next(Record& record);

  // What was found so far: complete after the first record, but for the counts.
  const ReadReport& report() const;
  // The column that holds the texts: `asked`, which must be there, or, when that is empty, `usual`, or the
  // only column. After the first record of CSV; a record of JSON Lines has keys of its own. DataError lists
  // the columns and says how to choose.
  std::string text_column(const Record& record, std::string_view asked, std::string_view usual) const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace fovea::data
