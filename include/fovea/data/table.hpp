// Table: rows of text cells under named columns, each row knowing its line in the file it came from.
// A Table is a handle to immutable bytes: selecting rows or columns shares them. Any number of threads may
// read one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fovea::data {

// What a column holds: text that a model reads, one of few values, a number (integer, decimal or scientific),
// a whole number, or a calendar date.
enum class ColumnType { kText, kCategory, kNumber, kInteger, kDate };

// "text", "category", "number", "integer", "date".
const char* to_string(ColumnType type);
// ArgumentError names the five.
ColumnType column_type(std::string_view name);

// Cells are valid UTF-8 when a reader made the table. Places of rows and columns count from 0.
class Table {
 public:
  Table() = default;  // no column, no row

  // Columns of equal length, copied. `lines` gives each row's line, 1-based; empty: row i stands on line i
  // + 1. ArgumentError: lengths differ, a repeated name.
  static Table from_columns(std::vector<std::string> names,
                            const std::vector<std::vector<std::string>>& columns,
                            std::vector<int64_t> lines = {}, std::string source = "table");

  // How many there are; a header is no row.
  int64_t rows() const { return static_cast<int64_t>(lines_.size()); }
  int64_t columns() const { return static_cast<int64_t>(names_.size()); }

  // Of the columns, all different.
  const std::vector<std::string>& names() const { return names_; }
  // The file, for messages.
  const std::string& source() const { return source_; }

  // Unchecked: 0 <= column < columns(), 0 <= row < rows(). A missing cell is empty.
  std::string_view cell(int64_t row, int64_t column) const {
    return cells_[static_cast<size_t>(column)][static_cast<size_t>(row)];
  }
  // The cells of a column, row by row; unchecked too.
  std::span<const std::string_view> column(int64_t column) const {
    return cells_[static_cast<size_t>(column)];
  }
  // As above, by name: DataError that lists the columns there are, and the nearest.
  std::span<const std::string_view> column(std::string_view name) const {
    return column(require_column(name));
  }

  // Where a row begins in its file, 1-based; unchecked.
  int64_t line(int64_t row) const { return lines_[static_cast<size_t>(row)]; }
  // "reviews.csv:17"
  std::string where(int64_t row) const;

  // The column that only counts the rows, as pandas and R write one without a name before the others; -1:
  // none. It can be asked for, and is no input unless it is.
  int64_t index_column() const { return index_; }

  int64_t find_column(std::string_view name) const;  // -1 when there is none
  // The same, or DataError that lists the columns there are, and the nearest.
  int64_t require_column(std::string_view name) const;

  // The rows in the order given; ArgumentError for one that is not there.
  Table select_rows(std::span<const int64_t> rows) const;
  // The columns in the order given; ArgumentError for one given twice, DataError for one that is not there.
  Table select_columns(std::span<const std::string> names) const;
  // One column more, behind the others. ArgumentError for a name that is there already, and for another
  // number of cells than of rows (a table without a column takes any).
  Table with_column(std::string name, const std::vector<std::string>& cells) const;

  // How readers build one. `bytes` is what the cells point into; it lives as long as any table that shares
  // it.
  class Builder;

 private:
  std::string source_ = "table";
  std::string note_;  // how the columns came by their names, for the message of require_column
  int64_t index_ = -1;
  std::vector<std::string> names_;
  std::vector<std::vector<std::string_view>> cells_;  // [column][row]
  std::vector<int64_t> lines_;
  std::vector<std::shared_ptr<const void>> storage_;
};

// Writes CSV (RFC 4180, UTF-8, header, "\n" line ends, quotes only where needed), atomically. ',' or '\t' or
// any other single ASCII character but a quote. DataError as formats::write_atomically.
void write_csv(const Table& table, const std::filesystem::path& path, char delimiter = ',');

}  // namespace fovea::data
