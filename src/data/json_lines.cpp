#include "data/json_lines.hpp"

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/check.hpp"
#include "fovea/formats/utf8.hpp"

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
               name);
    seen_[column_] = row_;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    throw_data(where_, "expected a JSON object on this line, found a mistake at byte {}: {}", position,
               error.what());
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
               "expected a cell of at most {} bytes, found {}; shorten it or raise the limit",
               max_cell_bytes_, text.size());
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

void read_json_lines(std::string_view text, Table::Builder& builder, TextArena& arena,
                     const ReadOptions& options, ReadReport& report) {
  RowHandler handler(builder, arena, options.max_cell_bytes);
  int64_t line = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view row = text.substr(at, end - at);
    at = end + 1;
    ++line;
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) {
      ++report.blank_lines;
      continue;
    }
    std::string replaced;
    if (formats::find_invalid_utf8(row) >= 0) {
      replaced = formats::replace_invalid_utf8(row);
      row = replaced;
      ++report.replaced_lines;
    }
    const std::string where = fmt::format("{}:{}", report.source, line);
    handler.begin_line(where, line);
    try {
      Json::sax_parse(row.begin(), row.end(), &handler);
    } catch (const nlohmann::json::exception& error) {
      throw_data(where, "expected a JSON object on this line, found a mistake: {}", error.what());
    }
  }
}

}  // namespace fovea::data
