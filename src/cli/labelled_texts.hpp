// Texts with their true classes: a table's, or the rows that a model's recipe held out for testing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/read.hpp"
#include "fovea/tasks/classifier.hpp"
#include "tasks/text_rows.hpp"

namespace fovea::cli {

struct LabelledTexts {
  std::vector<std::string_view> texts;  // into `table` or `rows`
  std::vector<int32_t> labels;          // numbers of the model's classes
  std::string report;                   // what was found in the table, for people
  int64_t skipped = 0;                  // rows without a label that were left out
  data::Table table;
  tasks::TextRows rows;
};

// Columns by the names given, or as in training; rows without a label are left out if `skip_missing`.
// DataError, with the line, for a class that the model does not know.
LabelledTexts read_labelled(const std::string& file, const data::ReadOptions& options,
                            const tasks::Classifier& classifier, const std::string& text,
                            const std::string& target, bool skip_missing);

// The rows that the model's recipe held out for testing: cut again, which gives the same ones because the cut
// is a function of the recipe and the data alone. DataError when there are none, when the recipe's file is
// gone, or when its rows are no longer those that the model was trained with (data.json).
LabelledTexts read_test_rows(const std::string& model, const tasks::Classifier& classifier);

}  // namespace fovea::cli
