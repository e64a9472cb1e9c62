// The raw lines and CSV rows of a stream, cut without reading ahead. Internal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/encoding.hpp"
#include "fovea/data/read.hpp"

namespace fovea::data {

// Bytes of an encoding in which ASCII stands for itself: UTF-16 is turned into UTF-8 as it arrives.
class RecordBytes {
 public:
  RecordBytes(ByteSource source, std::string_view name, const ReadOptions& options, ReadReport& report)
      : source_(std::move(source)), name_(name), options_(options), report_(report) {}

  // A line without its end, LF or CR LF. False at the end of the input.
  bool next_line(std::string& line);
  // A row of CSV, which may hold line ends within quotes, without its own line end. A quote opens a cell at
  // the row's beginning and behind one of `delimiters`.
  bool next_row(std::string& row, std::string_view delimiters);
  // As valid UTF-8, by the encoding found or, while that is open, by the evidence of what came so far.
  std::string decoded(std::string bytes);
  int64_t line() const { return line_; }  // where the last line or row began

 private:
  bool more();
  void begin(std::string_view first);
  void take(size_t length, std::string& out);
  void check_size(size_t bytes, int64_t most) const;

  ByteSource source_;
  std::string_view name_;
  const ReadOptions& options_;
  ReadReport& report_;
  std::string buffer_;  // what has arrived and is not yet given; from begin_ on
  size_t begin_ = 0;
  std::string units_;  // UTF-16 that waits for its other half
  std::optional<TextEncoding> encoding_;
  Utf8Evidence evidence_;
  bool started_ = false;
  bool ended_ = false;
  bool after_return_ = false;  // the last row ended at a carriage return: a newline behind it belongs to it
  int64_t line_ = 0;
  int64_t next_line_ = 1;
};

}  // namespace fovea::data
