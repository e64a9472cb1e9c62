#include "fovea/train/train.hpp"

#include <chrono>

#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/train/settings.hpp"
#include "train/folder.hpp"
#include "train/loop.hpp"

namespace fovea::train {
namespace {

void prepare_folder(const TrainOptions& options) {
  check_argument(!options.out.empty(), "train", "expected a folder for the model, got none; give --out DIR");
  check_argument(!(options.resume && options.overwrite), "train", "expected resume or overwrite, got both");
  const bool used = std::filesystem::exists(options.out / "model.safetensors") ||
                    std::filesystem::exists(options.out / "checkpoint");
  check_argument(
      !used || options.resume || options.overwrite, "train",
      "expected an empty folder, got {}, which holds a model; give --resume to continue it, or another --out",
      options.out.string());
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  check_data(!error, options.out.string(),
             "expected a folder that can be made, found: {}; give another --out", error.message());
  if (used && options.overwrite) {
    std::filesystem::remove_all(options.out / "checkpoint");
    for (const char* file :
         {"model.safetensors", "metrics.json", "metrics.jsonl", "tokenizer.json", "card.md"}) {
      std::filesystem::remove(options.out / file);
    }
  }
}

}  // namespace

TrainResult train(const formats::Recipe& recipe, const TrainOptions& options) {
  // Every question is asked before any work is done: a misspelt key costs a second, not an hour.
  const auto reader = tasks::read_task(recipe);
  const Settings settings = read_settings(recipe);
  recipe.check_unread();
  prepare_folder(options);
  formats::write_atomically(options.out / "recipe.toml", recipe.to_toml(formats::Recipe::Defaults::kWrite));

  tasks::TaskOptions task_options{.log = options.log, .progress = options.progress, .resume_from = {}};
  if (options.resume) task_options.resume_from = options.out;
  const auto task = reader->open(task_options);
  task->save_description(options.out);

  TrainResult result;
  result.folder = options.out;
  result.task = task->name();
  result.kind = task->kind();
  result.parameters = task->parameter_count();
  reset_peak_memory();
  if (task->parameters().empty()) {
    const auto started = std::chrono::steady_clock::now();
    task->fit();
    result.parameters = task->parameter_count();
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  } else {
    const Progress progress = run_loop(*task, settings, options.out, options);
    result.steps = progress.step;
    result.best_step = progress.best_step;
    result.seconds = progress.seconds;
  }
  result.peak_memory = memory_stats().peak_bytes_in_use;
  result.valid = task->evaluate(tasks::Split::kValid);
  result.test = task->evaluate(tasks::Split::kTest);
  task->save_weights(options.out);
  write_card(result, task->describe_data());
  write_metrics(result);
  // Only now is the run finished: until here a kill is continued from the last checkpoint.
  std::filesystem::remove_all(options.out / "checkpoint");
  return result;
}

}  // namespace fovea::train
