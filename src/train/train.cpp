#include "fovea/train/train.hpp"

#include <chrono>

#include "base/check.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/train/settings.hpp"
#include "train/folder.hpp"
#include "train/loop.hpp"
#include "train/resume.hpp"
#include "train/run_folder.hpp"

namespace fovea::train {
namespace {

namespace fs = std::filesystem;

void say_longer(const RecipeChanges& changes, const TrainOptions& options) {
  if (changes.longer.empty() || options.log == nullptr) return;
  options.log->log(
      LogLevel::kInfo,
      fmt::format("{}: the learning rate follows the schedule of the longer run from here on; the "
                  "steps before followed that of the shorter one",
                  changes.longer));
}

TrainResult describe(tasks::Task& task, const fs::path& folder) {
  TrainResult result;
  result.folder = folder;
  result.task = task.name();
  result.kind = task.kind();
  result.parameters = task.parameter_count();
  return result;
}

void evaluate(tasks::Task& task, TrainResult& result) {
  result.valid = task.evaluate(tasks::Split::kValid);
  result.test = task.evaluate(tasks::Split::kTest);
}

// A run that has ended is not run again: its model is measured once more, and nothing is written.
TrainResult evaluate_finished(tasks::Task& task, const TrainOptions& options) {
  if (options.log != nullptr) {
    options.log->log(
        LogLevel::kInfo,
        fmt::format("the run in {} has finished: it is evaluated again, not trained; more epochs: --set "
                    "train.epochs=N",
                    options.out.string()));
  }
  task.load_weights(options.out);
  TrainResult result = describe(task, options.out);
  read_metrics(result);
  evaluate(task, result);
  return result;
}

// Trains in the run's folder, from wherever it stands, to a whole model in its place.
TrainResult run(tasks::Task& task, const Settings& settings, RunFolder& folder, const TrainOptions& options) {
  task.save_description(folder.files());
  reset_peak_memory();
  TrainResult result = describe(task, options.out);
  if (task.parameters().empty()) {
    const auto started = std::chrono::steady_clock::now();
    task.fit();
    result.parameters = task.parameter_count();
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  } else {
    const Progress progress = run_loop(task, settings, folder.files(), options);
    result.steps = progress.step;
    result.best_step = progress.best_step;
    result.seconds = progress.seconds;
  }
  result.peak_memory = memory_stats().peak_bytes_in_use;
  evaluate(task, result);
  task.save_weights(folder.files());
  write_card(result, task.describe_data(), folder.files());
  write_metrics(result, folder.files());
  // Only now is the run finished: until here a kill is continued from the last checkpoint.
  folder.finish();
  return result;
}

}  // namespace

void check_recipe(const formats::Recipe& recipe) {
  tasks::read_task(recipe);
  read_settings(recipe);
  recipe.check_unread();
}

namespace {

TrainResult train_in_folder(const formats::Recipe& recipe, const TrainOptions& options) {
  // Every question is asked before any work is done: a misspelt key costs a second, not an hour.
  const auto reader = tasks::read_task(recipe);
  const Settings settings = read_settings(recipe);
  recipe.check_unread();
  const formats::Recipe kept = tasks::with_absolute_paths(recipe);

  RunFolder folder(options);
  const bool begins = folder.start() == RunFolder::Start::kNew;
  RecipeChanges changes;
  if (!begins) changes = compare_recipes(kept, folder.files(), options.out);

  tasks::TaskOptions task_options{.log = options.log, .progress = options.progress, .resume_from = {}};
  if (!begins) task_options.resume_from = folder.files();
  const auto task = reader->open(task_options);
  if (!begins) check_data_unchanged(*task, changes, folder.files(), options.log);

  if (folder.start() == RunFolder::Start::kFinished) {
    if (changes.longer.empty() || task->parameters().empty()) return evaluate_finished(*task, options);
    folder.extend();
  }
  if (begins) folder.begin();
  say_longer(changes, options);
  formats::write_atomically(folder.files() / "recipe.toml", kept.to_toml(formats::Recipe::Defaults::kWrite));
  task->data_digest().save(folder.files() / "data.json");
  return run(*task, settings, folder, options);
}

}  // namespace

TrainResult train(const formats::Recipe& recipe, const TrainOptions& options) {
  try {
    return train_in_folder(recipe, options);
  } catch (const fs::filesystem_error& error) {
    throw_data(error.path1().string(),
               "could not be written or moved: {}; make room or mend the folder, and run again",
               error.code().message());
  }
}

}  // namespace fovea::train
