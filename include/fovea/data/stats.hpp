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
  double least = 0, median = 0, p95 = 0, most = 0, mean = 0,
         deviation = 0;  // deviation: of the sample, n − 1
};

struct ValueCount {
  std::string value;
  int64_t count = 0;
};

struct ColumnStats {
  std::string name;
  ColumnType type = ColumnType::kText;
  int64_t missing = 0;
  int64_t distinct = 0;
  std::optional<Distribution> numbers;     // number and integer columns
  std::optional<Distribution> characters;  // text: Unicode characters a cell
  std::optional<Distribution> words;       // text: words and marks a cell (see formats/words.hpp)
  std::vector<ValueCount> top;             // the most frequent values, at most ten, ties by value
};

struct TableStats {
  std::string source;
  int64_t rows = 0;
  std::vector<ColumnStats> columns;

  std::string to_text() const;
  std::string to_json() const;
};

// Empty cells count as missing and enter nothing else.
TableStats stats(const ReadResult& read);

}  // namespace fovea::data
