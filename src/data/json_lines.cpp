#include "data/json_lines.hpp"

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/check.hpp"
#include "data/text_lines.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr size_t kMaxColumns = 10'000;

// Receives the parser's events for one line. Depth 1 is the row; what is deeper is written out again as JSON.
class RowHandler {
 public:
  RowHandler(Table::Builder& builder, TextArena& arena, int64_t max_cell_bytes)
      : builder_(builder), arena_(arena), max_cell_bytes_(max_cell_bytes) {}

  void begin_line(std::string where, int64_t line) {
    where_ = std::move(where);
    depth_ = 0;
    builder_.add_empty_row(line);
    ++row_;
  }

  bool null() { return deeper() ? raw("null") : cell({}); }
  bool boolean(bool value) { return value_text(value ? "true" : "false"); }
  bool number_integer(int64_t value) { return value_text(fmt::format("{}", value)); }
  bool number_unsigned(uint64_t value) { return value_text(fmt::format("{}", value)); }
  bool number_float(double, const std::string& written) { return value_text(written); }
  bool string(std::string& value) { return deeper() ? raw(Json(value).dump()) : cell(value); }
  bool binary(Json::binary_t&) { return false; }

  bool start_object(size_t) { return open('{'); }
  bool end_object() { return close('}'); }
  bool start_array(size_t) { return open('['); }
  bool end_array() { return close(']'); }

  bool key(std::string& name) {
    if (depth_ > 1) {
      comma();
      nested_ += Json(name).dump() + ":";
      first_ = true;
      return true;
    }
    const auto found = columns_.find(name);
    if (found != columns_.end()) {
      column_ = found->second;
    } else {
      check_data(columns_.size() < kMaxColumns, where_, "expected at most {} different keys, found more",
                 kMaxColumns);
      column_ = builder_.add_column(name);
      columns_.emplace(name, column_);
      seen_.push_back(0);
    }
    check_data(seen_[column_] != row_, where_, "expected each key once in an object, found \"{}\" twice",
               formats::printable(name));
    seen_[column_] = row_;
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const nlohmann::detail::exception& error) {
    if (dynamic_cast<const Json::out_of_range*>(&error) != nullptr) {
      throw_data(where_,
                 "expected a JSON object on this line, found a number too large at byte {}; shorten it, "
                 "or write it as text",
                 position);
    }
    throw_data(where_,
               "expected a JSON object on this line, found a mistake at byte {}, at \"{}\"; write one "
               "whole object a line",
               position, formats::printable(token, 40));
  }

 private:
  bool deeper() const { return depth_ > 1; }

  void check_row() const {
    check_data(depth_ > 0, where_,
               "expected a JSON object on this line, found another value; write rows as "
               "{{\"column\": value, …}}, one a line");
  }
  bool cell(std::string_view text) {
    check_row();
    check_data(std::cmp_less_equal(text.size(), max_cell_bytes_), where_,
               "expected a cell of at most {} bytes, found {}; shorten it", max_cell_bytes_, text.size());
    builder_.set_last(column_, arena_.keep(text));
    return true;
  }
  bool value_text(std::string_view text) { return deeper() ? raw(text) : cell(text); }
  void comma() {
    if (!first_) nested_ += ',';
    first_ = false;
  }
  bool raw(std::string_view text) {
    comma();
    nested_ += text;
    return true;
  }
  bool open(char bracket) {
    if (depth_ == 0 && bracket != '{') check_row();
    check_data(depth_ < kMaxDepth, where_, "expected at most {} levels of JSON, found more", kMaxDepth);
    if (depth_ == 1) nested_.clear();
    if (depth_ >= 1) {
      if (depth_ == 1) first_ = true;
      comma();
      nested_ += bracket;
      first_ = true;
    }
    ++depth_;
    return true;
  }
  bool close(char bracket) {
    --depth_;
    if (depth_ == 0) return true;
    nested_ += bracket;
    first_ = false;
    return depth_ == 1 ? cell(nested_) : true;
  }

  Table::Builder& builder_;
  TextArena& arena_;
  int64_t max_cell_bytes_;
  std::string where_;
  int depth_ = 0;
  bool first_ = true;  // whether the next nested value needs no comma
  std::string nested_;
  size_t column_ = 0;
  std::unordered_map<std::string, size_t> columns_;
  std::vector<int64_t> seen_;  // by column: the last row that had it
  int64_t row_ = 0;
};

}  // namespace

void read_json_lines(std::string_view text, int64_t first_line, Table::Builder& builder, TextArena& arena,
                     const ReadOptions& options, ReadReport& report) {
  RowHandler handler(builder, arena, options.max_cell_bytes);
  const std::string source = formats::printable(report.source);
  LineCursor cursor(text, first_line);
  for (std::string_view row; cursor.next(row);) {
    if (is_blank(row)) {
      ++report.blank_lines;
      continue;
    }
    handler.begin_line(fmt::format("{}:{}", source, cursor.line()), cursor.line());
    Json::sax_parse(row.begin(), row.end(), &handler);
  }
}

}  // namespace fovea::data
