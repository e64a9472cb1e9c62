// Building a Table: owns the bytes that cells point into. Internal.
#pragma once

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "fovea/data/table.hpp"

namespace fovea::data {

// Text that stays where it is until the arena goes.
class TextArena {
 public:
  std::string_view keep(std::string_view text) {
    constexpr size_t kBlock = size_t{1} << 20;
    if (text.empty()) return {};
    if (blocks_.empty() || blocks_.back().capacity() - blocks_.back().size() < text.size()) {
      blocks_.emplace_back();
      blocks_.back().reserve(std::max(kBlock, text.size()));
    }
    std::string& block = blocks_.back();
    const size_t at = block.size();
    block.append(text);  // within its capacity, so it does not move
    return std::string_view(block).substr(at);
  }

 private:
  std::deque<std::string> blocks_;
};

class Table::Builder {
 public:
  explicit Builder(std::string source) { table_.source_ = std::move(source); }

  void keep_alive(std::shared_ptr<const void> bytes) { table_.storage_.push_back(std::move(bytes)); }
  void set_names(std::vector<std::string> names) {
    table_.names_ = std::move(names);
    table_.cells_.resize(table_.names_.size());
  }
  // What require_column adds when it finds none.
  void set_note(std::string note) { table_.note_ = std::move(note); }
  void set_index(int64_t column) { table_.index_ = column; }
  // Of cells; DataError from add_row for more.
  void set_bound(int64_t cells) { max_cells_ = cells; }
  // A new column, empty in the rows there are.
  size_t add_column(std::string name) {
    table_.names_.push_back(std::move(name));
    table_.cells_.emplace_back(table_.lines_.size());
    return table_.names_.size() - 1;
  }
  void add_row(std::span<const std::string_view> cells, int64_t line) {
    for (size_t c = 0; c < cells.size(); ++c) table_.cells_[c].push_back(cells[c]);
    add_line(line);
  }
  // The same for rows that lack columns.
  void add_empty_row(int64_t line) {
    for (auto& column : table_.cells_) column.emplace_back();
    add_line(line);
  }
  void set_last(size_t column, std::string_view cell) { table_.cells_[column].back() = cell; }

  const Table& table() const { return table_; }
  Table finish() { return std::move(table_); }

 private:
  void add_line(int64_t line) {
    table_.lines_.push_back(line);
    if (table_.rows() > max_cells_ / std::max<int64_t>(table_.columns(), 1)) {
      throw_data(table_.where(table_.rows() - 1),
                 "expected at most {} cells, as many as the memory holds, found more; split the file",
                 max_cells_);
    }
  }

  Table table_;
  int64_t max_cells_ = std::numeric_limits<int64_t>::max();
};

}  // namespace fovea::data
