#include "fovea/data/records.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "data/csv.hpp"
#include "data/csv_table.hpp"
#include "data/format.hpp"
#include "data/header.hpp"
#include "data/json_lines.hpp"
#include "data/record_bytes.hpp"
#include "data/table_builder.hpp"
#include "data/text_lines.hpp"
#include "formats/nearest.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {

using Names = std::shared_ptr<const std::vector<std::string>>;

// A stream's beginning has not arrived when its format is wanted: options and the name alone decide.
FileFormat stream_format(std::string_view name, const ReadOptions& options) {
  ReadOptions texts = options;
  texts.purpose = Purpose::kTexts;
  texts.wanted.clear();
  return find_format("", name, texts);
}

}  // namespace

const std::string* Record::find(std::string_view name) const {
  const auto found = std::find(names->begin(), names->end(), name);
  return found == names->end() ? nullptr : &cells[static_cast<size_t>(found - names->begin())];
}

class RecordReader::State {
 public:
  State(ByteSource source, std::string name, ReadOptions options)
      : options_(std::move(options)),
        name_(std::move(name)),
        bytes_(std::move(source), name_, options_, report_) {
    report_.source = name_;
    report_.format = stream_format(name_, options_);
    check_argument(report_.format != FileFormat::kDocument, "RecordReader",
                   "expected records, got the format document; say csv, jsonl or lines");
    if (report_.format == FileFormat::kLines) {
      check_argument(options_.names.size() <= 1, "RecordReader", "expected one name for plain text, got {}",
                     options_.names.size());
      set_names(options_.names.empty() ? std::vector<std::string>{"text"} : options_.names);
    }
  }

  bool next(Record& record) {
    switch (report_.format) {
      case FileFormat::kCsv:
        return next_csv(record);
      case FileFormat::kJsonLines:
        return next_json(record);
      default:
        return next_line(record);
    }
  }

  const ReadReport& report() const { return report_; }

  std::string note() const {
    if (report_.format == FileFormat::kCsv) return header_note(report_, options_);
    if (report_.format == FileFormat::kJsonLines) return "";
    return "; it was read as plain text, a text a line: for a table say --format csv or jsonl";
  }

 private:
  void set_names(std::vector<std::string> names) {
    names_ = std::make_shared<const std::vector<std::string>>(std::move(names));
  }
  std::string place() const { return fmt::format("{}:{}", formats::printable(name_), bytes_.line()); }

  bool next_line(Record& record) {
    std::string line;
    if (!bytes_.next_line(line)) return false;
    record.line = bytes_.line();
    record.names = names_;
    record.cells = {bytes_.decoded(std::move(line))};
    record.blank = is_blank(record.cells[0]);
    report_.blank_lines += record.blank ? 1 : 0;
    ++report_.rows;
    return true;
  }

  bool next_json(Record& record) {
    std::string line;
    while (bytes_.next_line(line)) {
      line = bytes_.decoded(std::move(line));
      if (is_blank(line)) {
        ++report_.blank_lines;
        continue;
      }
      Table::Builder builder(name_);
      TextArena arena;
      read_json_lines(line, bytes_.line(), builder, arena, options_, report_);
      const Table row = builder.finish();
      record.line = bytes_.line();
      record.blank = false;
      if (!names_ || *names_ != row.names()) set_names(row.names());
      record.names = names_;
      record.cells.clear();
      for (int64_t c = 0; c < row.columns(); ++c) record.cells.emplace_back(row.cell(0, c));
      ++report_.rows;
      return true;
    }
    return false;
  }

  bool next_csv(Record& record) {
    const std::string any(kDelimiters.begin(), kDelimiters.end());
    std::string row;
    while (bytes_.next_row(row, delimiter_           ? std::string(1, *delimiter_)
                                : options_.delimiter ? std::string(1, *options_.delimiter)
                                                     : any)) {
      if (is_blank(row) && (row.empty() || !names_ || names_->size() > 1)) {
        ++report_.blank_lines;
        continue;
      }
      row = bytes_.decoded(std::move(row));
      if (!delimiter_ && says_separator(row)) continue;
      if (!delimiter_) {
        std::string_view body = row;
        delimiter_ = choose_delimiter(body, options_, name_);
        report_.delimiter = *delimiter_;
      }
      const std::vector<std::string_view> cells = cut(row);
      if (!names_ && take_first(cells)) continue;
      give(cells, record);
      return true;
    }
    return false;
  }

  // A first line "sep=;".
  bool says_separator(std::string_view row) {
    if (separator_seen_) return false;
    separator_seen_ = true;
    const std::optional<char> said = take_separator_line(row);
    if (said && !options_.delimiter) options_.delimiter = said;
    return said.has_value();
  }

  std::vector<std::string_view> cut(std::string& row) const {
    CsvCursor cursor(row.data(), row.data() + row.size(), *delimiter_, options_.quoting,
                     options_.max_cell_bytes, name_, bytes_.line());
    std::vector<std::string_view> cells;
    cursor.next(cells);
    return cells;
  }

  // Whether the first row is the header, and no record.
  bool take_first(const std::vector<std::string_view>& cells) {
    const bool header = options_.header ? *options_.header == Header::kPresent
                                        : judge_first_row({cells}, options_.wanted, options_.purpose).header;
    int64_t index = -1;
    if (header) header_.assign(cells.begin(), cells.end());
    set_names(choose_names(cells, header, false, options_, report_, place(), index));
    return header;
  }

  void give(const std::vector<std::string_view>& cells, Record& record) {
    // R's write.table: a name fewer than fields, which the first row below the header shows.
    if (report_.rows == 0 && cells.size() == header_.size() + 1 && !header_.empty()) {
      const std::vector<std::string_view> header(header_.begin(), header_.end());
      int64_t index = -1;
      report_.notes.clear();
      set_names(choose_names(header, true, true, options_, report_, place(), index));
    }
    check_width(cells.size(), names_->size(), *delimiter_, place());
    record.line = bytes_.line();
    record.blank = false;
    record.names = names_;
    record.cells.assign(cells.begin(), cells.end());
    ++report_.rows;
  }

  ReadOptions options_;
  std::string name_;
  ReadReport report_;
  RecordBytes bytes_;
  std::optional<char> delimiter_;
  bool separator_seen_ = false;
  std::vector<std::string> header_;  // as written
  Names names_;
};

RecordReader::RecordReader(ByteSource source, std::string name, ReadOptions options)
    : state_(std::make_unique<State>(std::move(source), std::move(name), std::move(options))) {}
RecordReader::~RecordReader() = default;

bool RecordReader::next(Record& record) {
  return state_->next(record);
}
const ReadReport& RecordReader::report() const {
  return state_->report();
}

std::string RecordReader::text_column(const Record& record, std::string_view asked,
                                      std::string_view usual) const {
  const std::string_view name = asked.empty() ? usual : asked;
  const std::vector<std::string>& names = *record.names;
  if (record.find(name) != nullptr) return std::string(name);
  if (asked.empty() && names.size() == 1) return names[0];
  throw_data(fmt::format("{}:{}", formats::printable(report().source), record.line),
             "expected a column \"{}\", found {}{}{}{}", formats::printable(name),
             formats::printable_list(names), formats::printable(formats::suggestion(name, names)),
             asked.empty() ? "; name the column of the texts with --column" : "", state_->note());
}

}  // namespace fovea::data
