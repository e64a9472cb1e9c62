// fovea evaluate: how good a model is, on a table of its own or on the test rows of its recipe.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/check.hpp"
#include "cli/app.hpp"
#include "cli/evaluation_text.hpp"
#include "cli/labelled_texts.hpp"
#include "cli/model_folder.hpp"
#include "cli/read_options.hpp"
#include "cli/text.hpp"
#include "fovea/metrics/classification_report.hpp"
#include "fovea/metrics/perplexity.hpp"
#include "fovea/tasks/classifier.hpp"
#include "fovea/tasks/generation.hpp"

namespace fovea::cli {
namespace {

struct EvaluateArguments {
  std::string model;
  std::string data;
  std::string column;
  std::string target;
  std::string missing_target = "error";
  ReadArguments read;

  bool skip_missing() const { return missing_target == "skip"; }
};

// A text is read in windows of the model's context; the characters are code points.
int evaluate_language_model(const EvaluateArguments& arguments, const CommonOptions& common,
                            Console& console) {
  check_argument(!arguments.data.empty(), "evaluate",
                 "expected a text with --data for a language model, got none");
  const auto generator = tasks::TextGenerator::load(arguments.model);
  check_argument(!arguments.skip_missing(), "--missing-target",
                 "expected no option for tables, a language model reads running text; leave it out");
  const data::ReadText read =
      read_text_input(arguments.data, arguments.read.text_options("a language model"));
  console.log(LogLevel::kInfo, read.report.to_text());
  const std::string& text = read.text;
  const auto likelihood = generator.likelihood(generator.tokenizer->encode(text).ids);
  check_data(likelihood.tokens > 0, arguments.data, "expected a text of at least two tokens, found less");
  const auto characters = static_cast<int64_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
  const double loss = likelihood.nats / static_cast<double>(likelihood.tokens);
  const double perplexity = metrics::perplexity(likelihood.nats, likelihood.tokens);
  const double bits = metrics::bits_per_character(likelihood.nats, characters);
  if (common.json) {
    print_result(dump_line({{"tokens", likelihood.tokens},
                            {"characters", characters},
                            {"loss", loss},
                            {"perplexity", perplexity},
                            {"bits_per_character", bits}}));
  } else {
    print_result(
        fmt::format("{} tokens predicted, {} characters\nloss                {:.4f} nats a token\n"
                    "perplexity          {:.3f}\nbits per character  {:.4f}\n",
                    with_commas(likelihood.tokens), with_commas(characters), loss, perplexity, bits));
  }
  return kDone;
}

int evaluate(const EvaluateArguments& arguments, const CommonOptions& common, Console& console) {
  const std::string task =
      require_task(arguments.model, "evaluate", {"text-classification", "language-model"}, console);
  if (task == "language-model") return evaluate_language_model(arguments, common, console);
  const tasks::Classifier classifier = tasks::Classifier::load(arguments.model);
  const LabelledTexts data =
      arguments.data.empty() ? read_test_rows(arguments.model, classifier)
                             : read_labelled(arguments.data, arguments.read.options(), classifier,
                                             arguments.column, arguments.target, arguments.skip_missing());
  if (!data.report.empty()) console.log(LogLevel::kInfo, data.report);
  if (data.skipped > 0) {
    console.log(LogLevel::kInfo,
                fmt::format("{} rows without a label are left out", with_commas(data.skipped)));
  }
  int64_t cut = 0;
  const std::vector<float> probabilities = classifier.probabilities(data.texts, &cut);
  say_cut(cut, classifier.most_tokens(), console);
  const metrics::ClassificationReport report = metrics::classification_report(
      data.labels, probabilities, static_cast<int64_t>(classifier.classes.size()),
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
  command
      ->add_option(
          "--data", arguments->data,
          "Labelled table, or a text for a language model, - for standard input (default: the test rows of "
          "the recipe)")
      ->option_text("FILE");
  command->add_option("--column", arguments->column, "Column with the texts (default: as in training)")
      ->option_text("COLUMN");
  command->add_option("--target", arguments->target, "Column with the labels (default: as in training)")
      ->option_text("COLUMN");
  command
      ->add_option("--missing-target", arguments->missing_target,
                   "Rows without a label: error, or skip to leave them out (default: error)")
      ->option_text("WHAT")
      ->check(CLI::IsMember({"error", "skip"}));
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return evaluate(*arguments, common, console);
    };
  });
}

}  // namespace fovea::cli
