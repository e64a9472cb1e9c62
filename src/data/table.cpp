#include "fovea/data/table.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "base/check.hpp"
#include "data/table_builder.hpp"
#include "formats/nearest.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::data {

namespace {
constexpr std::array<const char*, 5> kTypeNames{"text", "category", "number", "integer", "date"};
}  // namespace

const char* to_string(ColumnType type) {
  return kTypeNames[static_cast<size_t>(type)];
}

ColumnType column_type(std::string_view name) {
  for (size_t i = 0; i < kTypeNames.size(); ++i) {
    if (name == kTypeNames[i]) return static_cast<ColumnType>(i);
  }
  throw_argument("data", "expected a column type among {}, got \"{}\"", fmt::join(kTypeNames, ", "),
                 formats::printable(name));
}

Table Table::from_columns(std::vector<std::string> names,
                          const std::vector<std::vector<std::string>>& columns, std::vector<int64_t> lines,
                          std::string source) {
  constexpr const char* kCall = "Table::from_columns";
  check_argument(names.size() == columns.size(), kCall,
                 "expected a name for each column, got {} names for {} columns", names.size(),
                 columns.size());
  check_argument(std::set<std::string_view>(names.begin(), names.end()).size() == names.size(), kCall,
                 "expected different names, got one twice");
  const size_t rows = columns.empty() ? lines.size() : columns[0].size();
  check_argument(lines.empty() || lines.size() == rows, kCall, "expected a line for each of {} rows, got {}",
                 rows, lines.size());
  auto arena = std::make_shared<TextArena>();
  Table table;
  table.source_ = std::move(source);
  table.names_ = std::move(names);
  for (const auto& column : columns) {
    check_argument(column.size() == rows, kCall, "expected columns of {} rows, got one of {}", rows,
                   column.size());
    auto& cells = table.cells_.emplace_back();
    cells.reserve(rows);
    for (const std::string& cell : column) cells.push_back(arena->keep(cell));
  }
  table.lines_ = std::move(lines);
  if (table.lines_.empty()) {
    for (size_t i = 0; i < rows; ++i) table.lines_.push_back(static_cast<int64_t>(i) + 1);
  }
  table.storage_.push_back(std::move(arena));
  return table;
}

std::string Table::where(int64_t row) const {
  return fmt::format("{}:{}", formats::printable(source_), line(row));
}

int64_t Table::find_column(std::string_view name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  return found == names_.end() ? -1 : found - names_.begin();
}

int64_t Table::require_column(std::string_view name) const {
  const int64_t found = find_column(name);
  if (found >= 0) return found;
  throw_data(formats::printable(source_), "expected a column \"{}\", found {}{}{}", formats::printable(name),
             formats::printable_list(names_), formats::printable(formats::suggestion(name, names_)), note_);
}

Table Table::select_rows(std::span<const int64_t> rows) const {
  for (const int64_t row : rows) {
    check_argument(row >= 0 && row < this->rows(), "Table::select_rows", "expected rows from 0 to {}, got {}",
                   this->rows() - 1, row);
  }
  Table table;
  table.source_ = source_;
  table.note_ = note_;
  table.index_ = index_;
  table.names_ = names_;
  table.storage_ = storage_;
  table.lines_.reserve(rows.size());
  for (const int64_t row : rows) table.lines_.push_back(line(row));
  for (const auto& column : cells_) {
    auto& cells = table.cells_.emplace_back();
    cells.reserve(rows.size());
    for (const int64_t row : rows) cells.push_back(column[static_cast<size_t>(row)]);
  }
  return table;
}

Table Table::select_columns(std::span<const std::string> names) const {
  Table table;
  table.source_ = source_;
  table.note_ = note_;
  table.storage_ = storage_;
  table.lines_ = lines_;
  for (const std::string& name : names) {
    check_argument(table.find_column(name) < 0, "Table::select_columns",
                   "expected each column once, got \"{}\" twice", name);
    const int64_t column = require_column(name);
    if (column == index_) table.index_ = table.columns();
    table.cells_.push_back(cells_[static_cast<size_t>(column)]);
    table.names_.push_back(name);
  }
  return table;
}

Table Table::with_column(std::string name, const std::vector<std::string>& cells) const {
  check_argument(find_column(name) < 0, "Table::with_column", "expected a new name, got \"{}\" again", name);
  check_argument(std::cmp_equal(cells.size(), rows()) || columns() == 0, "Table::with_column",
                 "expected {} cells, got {}", rows(), cells.size());
  Table added = from_columns({std::move(name)}, {cells});
  if (columns() == 0) return added;
  Table table = *this;
  table.names_.push_back(added.names_[0]);
  table.cells_.push_back(added.cells_[0]);
  table.storage_.push_back(added.storage_[0]);
  return table;
}

void write_csv(const Table& table, const std::filesystem::path& path, char delimiter) {
  check_argument(static_cast<unsigned char>(delimiter) < 0x80 && delimiter != '"' && delimiter != '\n' &&
                     delimiter != '\r',
                 "write_csv", "expected a delimiter such as ',' or a tab, got another character");
  const std::array<char, 4> special{delimiter, '"', '\n', '\r'};
  std::string out;
  const auto put = [&](std::string_view cell, int64_t column) {
    if (column > 0) out += delimiter;
    // A lone empty cell would read as a blank line.
    const bool lone_empty = cell.empty() && table.columns() == 1;
    if (!lone_empty &&
        cell.find_first_of(std::string_view(special.data(), special.size())) == std::string_view::npos) {
      out += cell;
      return;
    }
    out += '"';
    for (const char c : cell) {
      if (c == '"') out += '"';
      out += c;
    }
    out += '"';
  };
  formats::AtomicFile file(path);
  for (int64_t c = 0; c < table.columns(); ++c) {
    // Without a name, as it was read, so that it is known again.
    put(c == 0 && c == table.index_column() ? std::string_view() : table.names()[static_cast<size_t>(c)], c);
  }
  out += '\n';
  for (int64_t r = 0; r < table.rows(); ++r) {
    for (int64_t c = 0; c < table.columns(); ++c) put(table.cell(r, c), c);
    out += '\n';
    if (out.size() > size_t{1} << 20) {
      file.write(out);
      out.clear();
    }
  }
  file.write(out);
  file.commit();
}

}  // namespace fovea::data
