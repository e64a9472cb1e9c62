// fovea evaluate: how good a model is, on a table of its own or on the test rows of its recipe.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/check.hpp"
#include "cli/app.hpp"
#include "cli/evaluation_text.hpp"
#include "cli/model_folder.hpp"
#include "cli/read_options.hpp"
#include "fovea/formats/recipe.hpp"
#include "fovea/metrics/classification_report.hpp"
#include "fovea/tasks/classifier.hpp"
#include "tasks/text_rows.hpp"

namespace fovea::cli {
namespace {

struct EvaluateArguments {
  std::string model;
  std::string data;
  std::string column;
  std::string target;
  ReadArguments read;
};

struct LabelledTexts {
  data::Table table;  // holds the bytes
  tasks::TextRows rows;
  std::vector<std::string_view> texts;
  std::vector<int32_t> labels;
};

int32_t label_of(const std::vector<std::string>& classes, std::string_view name, const data::Table& table,
                 int64_t row) {
  const auto found = std::find(classes.begin(), classes.end(), name);
  check_data(found != classes.end(), table.where(row),
             "expected one of the model's {} classes, found \"{}\"; correct the label or remove the row",
             classes.size(), name);
  return static_cast<int32_t>(found - classes.begin());
}

LabelledTexts read_labelled(const EvaluateArguments& arguments, const tasks::Classifier& classifier) {
  LabelledTexts data;
  data.table = data::read_table(arguments.data, arguments.read.options()).table;
  const auto texts = data.table.column(arguments.column.empty() ? classifier.text_column : arguments.column);
  const auto targets =
      data.table.column(arguments.target.empty() ? classifier.target_column : arguments.target);
  data.texts.assign(texts.begin(), texts.end());
  for (size_t i = 0; i < targets.size(); ++i) {
    data.labels.push_back(label_of(classifier.classes, targets[i], data.table, static_cast<int64_t>(i)));
  }
  return data;
}

// The rows that the recipe held out for testing: the same cut, because it is a function of the recipe alone.
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

int evaluate(const EvaluateArguments& arguments, const CommonOptions& common) {
  require_task(arguments.model, "evaluate", {"text-classification"});
  const tasks::Classifier classifier = tasks::Classifier::load(arguments.model);
  const LabelledTexts data = arguments.data.empty() ? read_test_rows(arguments.model, classifier)
                                                    : read_labelled(arguments, classifier);
  const metrics::ClassificationReport report = metrics::classification_report(
      data.labels, classifier.probabilities(data.texts), static_cast<int64_t>(classifier.classes.size()),
      {.seed = static_cast<uint64_t>(common.seed)});
  print_result(common.json ? dump_line(report_json(report, classifier.classes))
                           : report_text(report, classifier.classes));
  return kDone;
}

}  // namespace

void add_evaluate(CLI::App& app, Invocation& invocation) {
  CLI::App* command =
      add_command(app, "evaluate", "How good a model is, with 95 % intervals and scores by class",
                  {"fovea evaluate out/packages", "fovea evaluate out/packages --data new.csv --json"});
  auto arguments = std::make_shared<EvaluateArguments>();
  command->add_option("MODEL", arguments->model, "Folder that fovea train wrote")->required();
  command->add_option("--data", arguments->data,
                      "Labelled table (default: the test rows of the model's recipe)");
  command->add_option("--column", arguments->column, "Column with the texts (default: as in training)");
  command->add_option("--target", arguments->target, "Column with the labels (default: as in training)");
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console&) {
      return evaluate(*arguments, common);
    };
  });
}

}  // namespace fovea::cli
