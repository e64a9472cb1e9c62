#include "cli/labelled_texts.hpp"

#include <algorithm>
#include <filesystem>

#include "base/check.hpp"
#include "cli/read_options.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/paths.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/formats/recipe.hpp"

namespace fovea::cli {
namespace {

int32_t label_of(const std::vector<std::string>& classes, std::string_view name, const data::Table& table,
                 int64_t row) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  check_data(found != classes.end(), table.where(row),
             "expected one of the model's {} classes, found \"{}\"; correct the label or remove the row",
             classes.size(), formats::printable(name));
  return static_cast<int32_t>(found - classes.begin());
}

}  // namespace

LabelledTexts read_labelled(const std::string& file, const data::ReadOptions& options,
                            const tasks::Classifier& classifier, const std::string& text,
                            const std::string& target, bool skip_missing) {
  const std::string text_name = text.empty() ? classifier.text_column : text;
  const std::string target_name = target.empty() ? classifier.target_column : target;
  LabelledTexts data;
  data::ReadOptions wanting = options;
  wanting.wanted = {text_name, target_name};
  data::ReadResult read = read_input(file, wanting);
  data.report = read.report.to_text();
  data.table = std::move(read.table);
  const auto texts = data.table.column(text_name);
  const auto targets = data.table.column(target_name);
  for (size_t i = 0; i < targets.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (targets[i].find_first_not_of(" \t\r\n") == std::string_view::npos) {
      check_data(
          skip_missing, data.table.where(row),
          "expected a label in column {}, found none; label or remove the row, or leave such rows out with "
          "--missing-target skip",
          formats::printable(target_name));
      ++data.skipped;
      continue;
    }
    data.texts.push_back(texts[i]);
    data.labels.push_back(label_of(classifier.classes, targets[i], data.table, row));
  }
  check_data(!data.texts.empty(), data.table.source(), "expected labelled rows, found none in column {}",
             formats::printable(target_name));
  return data;
}

LabelledTexts read_test_rows(const std::string& model, const tasks::Classifier& classifier) {
  LabelledTexts data;
  const std::filesystem::path files = formats::model_files(model);
  const formats::Recipe recipe = formats::Recipe::load(files / "recipe.toml");
  const auto settings = tasks::read_text_data_settings(recipe);
  for (const std::string* file : {&settings.file, &settings.train, &settings.valid, &settings.test}) {
    const std::filesystem::path found = tasks::find_file(*file, settings.base);
    check_data(
        file->empty() || formats::exists(found), found.string(),
        "expected the data that the model was made with, found no such file; put it back, or give a table of "
        "its columns: fovea evaluate {} --data FILE",
        model);
  }
  data.rows = tasks::read_text_rows(settings, nullptr);
  if (formats::exists(files / "data.json")) {
    const std::string file = settings.file.empty() ? settings.train : settings.file;
    tasks::check_same_data(
        files / "data.json", data.rows,
        fmt::format(
            "the rows held out for testing would now be others, perhaps ones it was trained on: put the data "
            "back as they were, or evaluate on all rows of a file with fovea evaluate {} --data {}",
            model, file));
  }
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
