// fovea train: from a recipe, or from a task and a file, to a model folder.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "cli/app.hpp"
#include "cli/evaluation_text.hpp"
#include "cli/text.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/formats/recipe.hpp"
#include "fovea/train/compare.hpp"
#include "fovea/train/train.hpp"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

struct TrainArguments {
  std::string recipe;
  std::string task;
  std::string data;
  std::string target;
  std::string out;
  bool resume = false;
  bool overwrite = false;
  std::vector<std::string> settings;
  std::vector<std::string> compare;
  std::string command_line;  // to say how to continue
};

formats::Recipe read_recipe(const TrainArguments& arguments, const CommonOptions& common) {
  const bool from_file = !arguments.recipe.empty();
  check_argument(from_file != !arguments.data.empty(), "train",
                 "expected a recipe, or --task and --data, got {}; see fovea train --help",
                 from_file ? "both" : "neither");
  formats::Recipe recipe = from_file ? formats::Recipe::load(arguments.recipe) : formats::Recipe();
  if (!arguments.task.empty()) recipe.set("task", arguments.task);
  if (!arguments.data.empty()) {
    check_argument(!arguments.task.empty(), "train", "expected --task beside --data, got none");
    recipe.set("data.file", arguments.data);
  }
  if (!arguments.target.empty()) recipe.set("data.target", arguments.target);
  if (common.seed_given) recipe.set("seed", common.seed);
  for (const std::string& setting : arguments.settings) recipe.set(setting);
  return recipe;
}

// out/<the recipe's or the table's name>.
fs::path model_folder(const TrainArguments& arguments) {
  if (!arguments.out.empty()) return arguments.out;
  return fs::path("out") / fs::path(arguments.recipe.empty() ? arguments.data : arguments.recipe).stem();
}

std::string result_text(const train::TrainResult& result) {
  std::string text = fmt::format("{} ({}): {} parameters", result.task, models::to_string(result.kind),
                                 with_commas(result.parameters));
  if (result.steps > 0) text += fmt::format(", {} steps", with_commas(result.steps));  // else it was fitted
  text += fmt::format(", {} of training, {} MiB at most\n", clock_time(result.seconds),
                      (result.peak_memory + (1 << 20) - 1) >> 20);
  text += figures_text("validation", result.valid);
  text += figures_text("test", result.test);
  const std::string folder = result.folder.string();
  text += fmt::format("model in {}\n", formats::printable(folder, folder.size()));
  return text;
}

ordered_json result_json(const train::TrainResult& result) {
  return {{"folder", result.folder.string()},
          {"task", result.task},
          {"kind", models::to_string(result.kind)},
          {"steps", result.steps},
          {"best_step", result.best_step},
          {"parameters", result.parameters},
          {"seconds", result.seconds},
          {"peak_memory", result.peak_memory},
          {"validation", figures_json(result.valid)},
          {"test", figures_json(result.test)}};
}

void train_one(const formats::Recipe& recipe, const train::TrainOptions& options, const CommonOptions& common,
               Console& console) {
  const train::TrainResult result = train::train(recipe, options);
  console.clear_line();
  print_result(common.json ? result_json(result).dump() : result_text(result));
}

void train_each(const TrainArguments& arguments, const formats::Recipe& recipe,
                const train::TrainOptions& options, const CommonOptions& common, Console& console) {
  std::vector<models::ModelKind> kinds;
  kinds.reserve(arguments.compare.size());
  for (const std::string& name : arguments.compare) kinds.push_back(models::model_kind(name));
  const std::vector<train::TrainResult> results = train::compare(recipe, kinds, options);
  console.clear_line();
  print_result(common.json ? train::comparison_json(results) : train::comparison_table(results));
}

// The command line that goes on where this one stopped.
std::string continuing(const TrainArguments& arguments) {
  std::string line = arguments.command_line;
  const std::string begin_anew = " --overwrite";
  if (const size_t at = line.find(begin_anew); at != std::string::npos) line.erase(at, begin_anew.size());
  return arguments.resume ? line : line + " --resume";
}

int run_training(const TrainArguments& arguments, const CommonOptions& common, Console& console) {
  const formats::Recipe recipe = read_recipe(arguments, common);
  const train::TrainOptions options{.out = model_folder(arguments),
                                    .resume = arguments.resume,
                                    .overwrite = arguments.overwrite,
                                    .progress = &console,
                                    .log = &console};
  try {
    if (arguments.compare.empty()) {
      train_one(recipe, options, common, console);
    } else {
      train_each(arguments, recipe, options, common, console);
    }
  } catch (const Interrupted&) {
    throw Interrupted(fmt::format("stopped, the state is saved in {}; continue with: {}",
                                  options.out.string(), continuing(arguments)));
  }
  return kDone;
}

}  // namespace

void add_train(CLI::App& app, Invocation& invocation) {
  CLI::App* command = add_command(app, "train", "Train a model from a recipe, or from a task and a file",
                                  {"fovea train recipes/packages.toml --out out/packages",
                                   "fovea train --task text-classification --data reviews.csv --target label",
                                   "fovea train recipe.toml --set model.kind=lstm --set train.epochs=3",
                                   "fovea train recipe.toml --compare attention,lstm,cnn,linear"});
  auto arguments = std::make_shared<TrainArguments>();
  command->add_option("RECIPE", arguments->recipe,
                      "TOML file: what to train, on what, and how; or --task and --data instead");
  command
      ->add_option("--task", arguments->task, "text-classification or language-model (default: the recipe's)")
      ->option_text("TASK");
  command
      ->add_option("--data", arguments->data,
                   "CSV, TSV, JSON Lines or plain text, read from a file (default: the recipe's)")
      ->option_text("FILE");
  command
      ->add_option("--target", arguments->target,
                   "Column to be predicted (default: the recipe's, else label, target, class or category)")
      ->option_text("COLUMN");
  command
      ->add_option("--out", arguments->out,
                   "Folder for the model (default: out/ and the recipe's or file's name)")
      ->option_text("FOLDER");
  CLI::Option* resume =
      command->add_flag("--resume", arguments->resume,
                        "Continue exactly where the run in --out stopped: same data and settings; "
                        "one that has finished is evaluated, or goes on with more --set train.epochs=N");
  command
      ->add_flag("--overwrite", arguments->overwrite,
                 "Begin anew in a folder that holds a model, which stays until the new one is whole")
      ->excludes(resume);
  command
      ->add_option("--set", arguments->settings,
                   "Replaces a value of the recipe, such as train.epochs=3; may be repeated (default: none)")
      ->option_text("KEY=VALUE")
      ->expected(1)
      ->take_all();
  command
      ->add_option(
          "--compare", arguments->compare,
          "Train each of these kinds of model, out of attention, lstm, cnn, linear and majority, and print "
          "one table (default: the recipe's kind alone)")
      ->option_text("KIND,KIND")
      ->delimiter(',');
  command->callback([arguments, &invocation] {
    arguments->command_line = invocation.command_line;
    invocation.command = [arguments](const CommonOptions& common, Console& console) {
      return run_training(*arguments, common, console);
    };
  });
}

}  // namespace fovea::cli
