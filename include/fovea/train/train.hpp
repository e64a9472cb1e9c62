// Training: from a recipe to a model folder. Any moment may be the last one: a run that was stopped or killed
// continues with TrainOptions::resume and ends with the same bits as one that was not.
//
//   auto result = train::train(formats::Recipe::load("recipe.toml"), {.out = "model"});
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "fovea/base/progress.hpp"
#include "fovea/formats/recipe.hpp"
#include "fovea/tasks/task.hpp"

namespace fovea::train {

struct TrainOptions {
  std::filesystem::path out;  // the model folder; made if it is not there
  bool resume =
      false;  // continue what `out` holds; without it, a folder with a model or checkpoint is refused
  bool overwrite = false;            // begin anew in such a folder
  ProgressSink* progress = nullptr;  // an event a step, and polled for stopping
  LogSink* log = nullptr;
};

struct TrainResult {
  std::filesystem::path folder;
  std::string task;
  models::ModelKind kind = models::ModelKind::kAttention;
  int64_t steps = 0;
  int64_t best_step = 0;  // whose weights were kept
  int64_t parameters = 0;
  double seconds = 0.0;     // of training and validation, over all starts, without reading the data
  int64_t peak_memory = 0;  // bytes of tensors at the fullest moment of a step
  tasks::Evaluation valid;
  tasks::Evaluation test;  // no figures when the recipe has no test rows
};

// Trains what the recipe says and leaves in `out`: config.json, model.safetensors, tokenizer.json,
// recipe.toml, metrics.json, metrics.jsonl and card.md; checkpoint/ while it runs. DataError: a recipe or
// data that cannot be used; a loss that is not finite (the message names the step, the loss and the largest
// gradient); a full disk. Interrupted when the sink asks to stop, after a checkpoint was written.
// ArgumentError: no `out`, or a folder in use without resume or overwrite. Resuming a finished run evaluates
// it again.
TrainResult train(const formats::Recipe& recipe, const TrainOptions& options);

}  // namespace fovea::train
