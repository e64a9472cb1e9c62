// fovea explain: what mattered in each text, as lines or as one offline page.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>

#include "cli/app.hpp"
#include "cli/labelled_texts.hpp"
#include "cli/model_folder.hpp"
#include "cli/read_options.hpp"
#include "cli/text.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"
#include "fovea/explain/explain_model.hpp"
#include "fovea/explain/explain_text.hpp"
#include "fovea/explain/page.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/tasks/evaluate.hpp"
#include "fovea/tasks/model.hpp"

namespace fovea::cli {
namespace {

using nlohmann::ordered_json;

constexpr size_t kUsualLimit = 10;

struct ExplainArguments {
  std::string model;
  std::string file = "-";
  std::string column;
  std::string report;
  bool test = false;
  std::optional<size_t> limit;
  size_t words = 5;
  ReadArguments read;
};

struct Word {
  std::string text;
  double weight = 0;  // fall of the class's probability without it
};

// A word's tokens share its occlusion.
std::vector<Word> words_that_mattered(const explain::PageExample& example, size_t count) {
  const auto occlusion = std::find_if(example.relevance.begin(), example.relevance.end(),
                                      [](const explain::PageRelevance& r) { return r.name == "occlusion"; });
  if (occlusion == example.relevance.end()) return {};
  std::vector<Word> words;
  for (explain::PageWord& word : explain::page_words(example.tokens))
    words.push_back({std::move(word.text), static_cast<double>(occlusion->values[word.first])});
  std::stable_sort(words.begin(), words.end(),
                   [](const Word& a, const Word& b) { return std::abs(a.weight) > std::abs(b.weight); });
  words.resize(std::min(count, words.size()));
  return words;
}

std::string example_text(const explain::PageExample& example, size_t words) {
  const std::string shown = formats::printable(example.text, 100);
  if (example.prediction.empty()) return fmt::format("(a text without tokens)  {}", shown);
  const explain::PageCandidate& best = example.prediction.front();
  std::string line;
  for (const Word& word : words_that_mattered(example, words)) {
    line += fmt::format("{}{} {:+.1f}", line.empty() ? "  |  " : ", ", formats::printable(word.text, 30),
                        100 * word.weight);
  }
  return fmt::format("{}  {} %{}  {}{}", formats::printable(best.name, 40), percent(best.probability),
                     example.truth.empty() ? ""
                     : example.truth == best.name
                         ? "  (right)"
                         : "  (truth: " + formats::printable(example.truth, 40) + ")",
                     shown, line);
}

std::string example_json(const explain::PageExample& example, size_t words) {
  ordered_json mattered = ordered_json::array();
  for (const Word& word : words_that_mattered(example, words)) {
    mattered.push_back({{"word", word.text}, {"weight", word.weight}});
  }
  ordered_json json{{"text", example.text}};
  if (!example.prediction.empty()) {
    json["label"] = example.prediction.front().name;
    json["probability"] = example.prediction.front().probability;
  }
  json["words"] = mattered;
  if (!example.truth.empty()) json["truth"] = example.truth;
  return dump_line(json);
}

// Calls `each` with the texts of FILE. With a table that has the training table's target column, the true
// classes come along.
void for_each_example(const ExplainArguments& arguments, const Model& model, LogSink& log,
                      const std::function<void(const explain::ModelExample&)>& each) {
  const bool classifies = model.task() == "text-classification";
  const TextInput input{.file = arguments.file,
                        .column = arguments.column,
                        .usual = classifies ? model.classifier().text_column : "text",
                        .target = classifies ? model.classifier().target_column : "",
                        .options = arguments.read.options()};
  // A page holds every text's attention; lines of standard input are answered and forgotten.
  const bool all = arguments.file == "-" && arguments.report.empty();
  size_t left = arguments.limit.value_or(all ? SIZE_MAX : kUsualLimit);
  for_each_text(input, 1, log, [&](const TextBatch& batch) {
    each({std::string(batch.texts[0]), std::string(batch.truths[0])});
    return --left > 0;
  });
}

// `limit` of the test rows, drawn without replacement.
std::vector<explain::ModelExample> draw_examples(const LabelledTexts& rows, const Model& model, size_t limit,
                                                 uint64_t seed) {
  std::vector<size_t> order(rows.texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Random(seed).shuffle(order);
  order.resize(std::min(limit, order.size()));
  std::vector<explain::ModelExample> examples;
  examples.reserve(order.size());
  for (const size_t i : order) {
    examples.push_back({std::string(rows.texts[i]), model.labels()[static_cast<size_t>(rows.labels[i])]});
  }
  return examples;
}

// The recipe's test rows. Only --test cannot do without them: a page then lacks the scores by class.
std::optional<LabelledTexts> test_rows(const ExplainArguments& arguments, const Model& model,
                                       Console& console) {
  if (arguments.test) return read_test_rows(arguments.model, model.classifier());
  if (arguments.report.empty() || model.task() != "text-classification") return std::nullopt;
  try {
    return read_test_rows(arguments.model, model.classifier());
  } catch (const DataError& error) {
    console.log(LogLevel::kWarning, fmt::format("the page has no scores by class: {}", error.what()));
    return std::nullopt;
  }
}

int64_t most_tokens(const Model& model) {
  return model.task() == "language-model" ? model.language_model().network->config().context
                                          : model.classifier().most_tokens();
}

int explain_texts(const ExplainArguments& arguments, const CommonOptions& common, Console& console) {
  if (arguments.test) {
    require_task(arguments.model, "explain --test", {"text-classification"}, console);
  } else {
    require_task(arguments.model, "explain", {"text-classification", "language-model"}, console);
  }
  const Model model = Model::load(arguments.model);
  const std::optional<LabelledTexts> rows = test_rows(arguments, model, console);
  std::vector<explain::PageExample> examples;
  int64_t cut = 0;
  const auto answer = [&](const explain::ModelExample& given) {
    explain::PageExample example = explain::explain_example(model, given);
    print_result(common.json ? example_json(example, arguments.words)
                             : example_text(example, arguments.words));
    flush_results();
    cut += example.cut ? 1 : 0;
    if (!arguments.report.empty()) examples.push_back(std::move(example));
  };
  if (rows && arguments.test) {
    for (const explain::ModelExample& given : draw_examples(
             *rows, model, arguments.limit.value_or(kUsualLimit), static_cast<uint64_t>(common.seed))) {
      answer(given);
    }
  } else {
    for_each_example(arguments, model, console, answer);
  }
  say_cut(cut, most_tokens(model), console);
  if (!arguments.report.empty()) {
    tasks::Evaluation held_back;
    if (rows) {
      held_back = tasks::evaluate_classes(rows->labels, model.classifier().probabilities(rows->texts),
                                          model.labels());
    }
    explain::PageData page =
        explain::explain_model(model, {}, held_back.examples > 0 ? &held_back : nullptr, "test");
    page.examples = std::move(examples);
    explain::write_page(arguments.report, page);
    console.log(LogLevel::kInfo, fmt::format("page written to {}", arguments.report));
  }
  return kDone;
}

}  // namespace

void add_explain(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, "explain",
                                  "Which words raised (+) or lowered (-) the prediction, a line for each "
                                  "text (--json: JSON Lines), and one "
                                  "offline page that shows the attention",
                                  {"fovea explain out/packages new.csv --report page.html",
                                   "echo 'a chess engine' | fovea explain out/packages",
                                   "fovea explain out/packages --test --limit 20 --json"});
  auto arguments = std::make_shared<ExplainArguments>();
  command->add_option("MODEL", arguments->model, "Folder that fovea train wrote")->required();
  command->add_option("FILE", arguments->file,
                      "Texts: a table, a line each, or - for standard input (default: -)");
  command->add_flag("--test", arguments->test,
                    "Explain test rows of the model's recipe, drawn by --seed, instead of FILE");
  command
      ->add_option("--report", arguments->report,
                   "Write the page here: HTML, one file, no network (default: no page)")
      ->option_text("FILE");
  command
      ->add_option("--limit", arguments->limit,
                   "Texts to explain, 1 to 1000 (default: 10; all of standard input without --report)")
      ->option_text("N")
      ->check(CLI::Range(1, 1000));
  command->add_option("--words", arguments->words, "Words to name for each text, 0 to 1000 (default: 5)")
      ->option_text("N")
      ->check(CLI::Range(0, 1000));
  command->add_option("--column", arguments->column, "Column with the texts (default: as in training)")
      ->option_text("COLUMN");
  arguments->read.add_to(*command);
  command->callback([arguments, &invocation] {
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return explain_texts(*arguments, common, console);
    };
  });
}

}  // namespace fovea::cli
