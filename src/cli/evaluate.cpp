// fovea evaluate: how good a model is, on a table of its own or on the test rows of its recipe.
#include <fmt/format.h>

#include <memory>

#include "cli/app.hpp"
#include "cli/evaluation_text.hpp"
#include "cli/labelled_texts.hpp"
#include "cli/model_folder.hpp"
#include "cli/read_options.hpp"
#include "fovea/metrics/classification_report.hpp"
#include "fovea/tasks/classifier.hpp"

namespace fovea::cli {
namespace {

struct EvaluateArguments {
  std::string model;
  std::string data;
  std::string column;
  std::string target;
  ReadArguments read;
};

int evaluate(const EvaluateArguments& arguments, const CommonOptions& common) {
  require_task(arguments.model, "evaluate", {"text-classification"});
  const tasks::Classifier classifier = tasks::Classifier::load(arguments.model);
  const LabelledTexts data = arguments.data.empty()
                                 ? read_test_rows(arguments.model, classifier)
                                 : read_labelled(arguments.data, arguments.read.options(), classifier,
                                                 arguments.column, arguments.target);
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
