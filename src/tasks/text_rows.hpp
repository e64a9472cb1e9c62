// The [data] table of a text task: which file, which columns, which rows train, validate and test.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "fovea/data/read.hpp"
#include "fovea/formats/recipe.hpp"
#include "fovea/tasks/task.hpp"

namespace fovea::tasks {

struct TextDataSettings {
  std::string file, train, valid, test;  // one file that is split, or one a split
  std::string base;                      // folder of the recipe: relative paths are looked up there too
  std::string text, target;              // columns; empty: found out
  std::string split = "random";          // "random", "stratified", "group"
  std::string group;                     // column whose equal values stay together
  double valid_share = 0.1, test_share = 0.1;
  uint64_t split_seed = 1;
  bool skip_missing_target = false;  // rows without a target are left out and counted, else a DataError
  data::ReadOptions read;
};
TextDataSettings read_text_data_settings(const formats::Recipe& recipe);

// Rows of the three splits; text and target point into `tables`.
struct TextRows {
  std::vector<data::Table> tables;
  std::string text_column, target_column;
  struct Row {
    std::string_view text;
    std::string_view target;
    int32_t label = -1;
    int32_t table = 0;
    int64_t row = 0;
  };
  std::array<std::vector<Row>, 3> splits;
  std::vector<std::string> classes;  // sorted
  std::string description;           // lines for the card
};

// Reads, leaves out rows without a target where that is asked for, splits and numbers the classes. In a file
// that is split here, a row whose class has no training row is moved to the training rows (and said so); in
// separate files it is a DataError that names its line.
TextRows read_text_rows(const TextDataSettings& settings, LogSink* log);

// What is kept beside a model of these rows.
DataDigest digest_of(const TextRows& rows);
// DataError "difference; advice" unless the rows are those of the digest in `digest_file`.
void check_same_data(const std::filesystem::path& digest_file, const TextRows& rows, std::string_view advice);

// The path as given if it is there, else inside `base`.
std::filesystem::path find_file(const std::string& path, const std::string& base);

}  // namespace fovea::tasks
