#include "cli/labelled_texts.hpp"

#include <algorithm>
#include <filesystem>

#include "base/check.hpp"
#include "fovea/formats/recipe.hpp"

namespace fovea::cli {
namespace {

int32_t label_of(const std::vector<std::string>& classes, std::string_view name, const data::Table& table,
                 int64_t row) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  check_data(found != classes.end(), table.where(row),
             "expected one of the model's {} classes, found \"{}\"; correct the label or remove the row",
             classes.size(), name);
  return static_cast<int32_t>(found - classes.begin());
}

}  // namespace

LabelledTexts read_labelled(const std::string& file, const data::ReadOptions& options,
                            const tasks::Classifier& classifier, const std::string& text,
                            const std::string& target) {
  LabelledTexts data;
  data.table = data::read_table(file, options).table;
  const auto texts = data.table.column(text.empty() ? classifier.text_column : text);
  const auto targets = data.table.column(target.empty() ? classifier.target_column : target);
  data.texts.assign(texts.begin(), texts.end());
  for (size_t i = 0; i < targets.size(); ++i) {
    data.labels.push_back(label_of(classifier.classes, targets[i], data.table, static_cast<int64_t>(i)));
  }
  return data;
}

LabelledTexts read_test_rows(const std::string& model, const tasks::Classifier& classifier) {
  LabelledTexts data;
  const formats::Recipe recipe = formats::Recipe::load(std::filesystem::path(model) / "recipe.toml");
  data.rows = tasks::read_text_rows(tasks::read_text_data_settings(recipe), nullptr);
  for (const auto& row : data.rows.splits[static_cast<size_t>(tasks::Split::kTest)]) {
    data.texts.push_back(row.text);
    data.labels.push_back(
        label_of(classifier.classes, row.target, data.rows.tables[static_cast<size_t>(row.table)], row.row));
  }
  check_data(!data.texts.empty(), model,
             "expected test rows in the model's recipe, found none; give a table with --data");
  return data;
}

}  // namespace fovea::cli
