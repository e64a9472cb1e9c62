// fovea predict: what a trained classifier says about texts.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "cli/app.hpp"
#include "cli/model_folder.hpp"
#include "cli/read_options.hpp"
#include "cli/text.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/tasks/classifier.hpp"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

constexpr size_t kBatch = 256;  // texts: enough for the products, and few seconds until the first answer
constexpr size_t kLabelWidth = 40;

struct PredictArguments {
  std::string model;
  std::string file = "-";
  std::string column;
  ReadArguments read;
};

std::string prediction_line(std::string_view text, std::span<const float> probabilities,
                            const std::vector<std::string>& classes, size_t width) {
  const auto best = static_cast<size_t>(std::max_element(probabilities.begin(), probabilities.end()) -
                                        probabilities.begin());
  return fmt::format("{:<{}}  {:>5} %  {}", formats::printable(classes[best], kLabelWidth), width,
                     percent(static_cast<double>(probabilities[best])), formats::printable(text, 120));
}

std::string prediction_json(std::string_view text, std::span<const float> probabilities,
                            const std::vector<std::string>& classes) {
  const auto best = static_cast<size_t>(std::max_element(probabilities.begin(), probabilities.end()) -
                                        probabilities.begin());
  ordered_json all = ordered_json::object();
  for (size_t c = 0; c < classes.size(); ++c) all[classes[c]] = probabilities[c];
  return dump_line({{"text", text},
                    {"label", classes[best]},
                    {"probability", probabilities[best]},
                    {"probabilities", all}});
}

int predict(const PredictArguments& arguments, const CommonOptions& common, Console& console) {
  require_task(arguments.model, "predict", {"text-classification"}, console);
  const tasks::Classifier classifier = tasks::Classifier::load(arguments.model);
  size_t width = 0;
  for (const std::string& name : classifier.classes)
    width = std::clamp(formats::printable(name, kLabelWidth).size(), width, kLabelWidth);
  const TextInput input{.file = arguments.file,
                        .column = arguments.column,
                        .usual = classifier.text_column,
                        .target = "",
                        .options = arguments.read.options()};
  int64_t cut = 0;
  for_each_text(input, kBatch, console, [&](const TextBatch& batch) {
    const std::vector<float> probabilities = classifier.probabilities(batch.texts, &cut);
    const size_t classes = classifier.classes.size();
    for (size_t i = 0; i < batch.texts.size(); ++i) {
      const auto row = std::span(probabilities).subspan(i * classes, classes);
      print_result(common.json ? prediction_json(batch.texts[i], row, classifier.classes)
                               : prediction_line(batch.texts[i], row, classifier.classes, width));
    }
    flush_results();
    return true;
  });
  say_cut(cut, classifier.most_tokens(), console);
  return kDone;
}

}  // namespace

void add_predict(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(
      app, "predict",
      "The likeliest class of each text, its probability in percent, and the text, a line for each; --json "
      "gives JSON Lines with the probability of every class, from 0 to 1",
      {"fovea predict out/packages new.csv", "echo 'a chess engine' | fovea predict out/packages -",
       "fovea predict out/packages new.csv --json"});
  auto arguments = std::make_shared<PredictArguments>();
  command->add_option("MODEL", arguments->model, "Folder that fovea train wrote")->required();
  command->add_option("FILE", arguments->file,
                      "Texts: a table, a line each, or - for standard input (default: -)");
  command->add_option("--column", arguments->column, "Column with the texts (default: as in training)")
      ->option_text("COLUMN");
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return predict(*arguments, common, console);
    };
  });
}

}  // namespace fovea::cli
