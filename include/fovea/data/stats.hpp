// What a table looks like: the figures of `fovea data stats`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fovea/data/read.hpp"

namespace fovea::data {

// Order statistics; the quantile at p is the value at place ⌊p · (n − 1)⌉ of the sorted values.
struct Distribution {
  // The smallest, the quantiles at 0.5 and 0.95, the largest, and the mean.
  double least = 0, median = 0, p95 = 0, most = 0, mean = 0,
         deviation = 0;  // of the sample, n − 1; 0 for one value
};

// A value of a column, and the number of cells that hold it.
struct ValueCount {
  // The cell, and in how many rows it stands.
  std::string value;
  int64_t count = 0;
};

// Figures of one column. Which distributions there are depends on its type; of a column without a value none.
struct ColumnStats {
  std::string name;                        // as Table::names() has it
  ColumnType type = ColumnType::kText;     // as the ReadReport has it
  int64_t missing = 0;                     // empty cells
  int64_t distinct = 0;                    // different values, all counted
  std::optional<Distribution> numbers;     // number and integer columns
  std::optional<Distribution> characters;  // text: Unicode characters a cell
  std::optional<Distribution> words;       // text: words and marks a cell (see formats/words.hpp)
  std::vector<ValueCount> top;             // the most frequent values, at most ten, ties by value
};

// Figures of a table.
struct TableStats {
  std::string source;                // the file, as it was named
  int64_t rows = 0;                  // without the header
  std::vector<ColumnStats> columns;  // in the order of the table

  // What `fovea data stats` prints: lines for people, and with --json one object with the names of the
  // fields.
  std::string to_text() const;
  std::string to_json() const;
};

// Empty cells count as missing and enter nothing else.
TableStats stats(const ReadResult& read);

}  // namespace fovea::data
