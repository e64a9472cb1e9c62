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

// Where a run works, and how it begins.
struct TrainOptions {
  // The model folder; made if it is not there. One run at a time writes to it: a second one is a DataError.
  std::filesystem::path out;
  // Continue the run in `out` from its last checkpoint. It must be there, and begun with the same settings on
  // the same data; train.epochs (or train.steps) may be larger. A finished run is evaluated, and trained only
  // when it is to have more epochs.
  bool resume = false;
  // Begin anew in a folder that holds a model or a checkpoint, which is refused otherwise. What is there
  // stays as it is, whatever happens, until the new model is whole: the run works in out/next until then.
  bool overwrite = false;
  ProgressSink* progress = nullptr;  // an event a step, and polled for stopping
  LogSink* log = nullptr;            // what was found in the data, and what a resumed run does otherwise
};

// What came of a run; metrics.json holds most of it.
struct TrainResult {
  std::filesystem::path folder;                            // TrainOptions::out
  std::string task;                                        // "text-classification", "language-model"
  models::ModelKind kind = models::ModelKind::kAttention;  // what the model is made of
  int64_t steps = 0;                                       // updates made; 0 for kinds that fit themselves
  int64_t best_step = 0;                                   // whose weights were kept
  int64_t parameters = 0;                                  // trained numbers
  double seconds = 0.0;     // of training and validation, over all starts, without reading the data
  int64_t peak_memory = 0;  // bytes of tensors at the fullest moment of a step
  tasks::Evaluation valid;  // no figures when the recipe has no validation rows
  tasks::Evaluation test;   // no figures when the recipe has no test rows
};

// Trains what the recipe says and leaves in `out`: config.json, model.safetensors, tokenizer.json,
// recipe.toml, data.json (a digest of the data), metrics.json, metrics.jsonl, card.md and manifest.json
// (their checksums), and state.safetensors, from which more epochs can follow; checkpoint/ while it runs
// (docs/formats/model.md).
//
// DataError: a recipe or data that cannot be used; a loss that is not finite (the message names the step, the
// loss and the largest gradient); a full disk; another run in the folder; with resume, data that have
// changed. ArgumentError: no `out`; a folder in use without resume or overwrite; with resume, nothing to
// continue, or settings that differ (each is named). Interrupted when the sink asks to stop, after a
// checkpoint was written.
//
// Resuming gives the same bits as a run that was never stopped. With more epochs it goes on from the state at
// the end: weights, moments, random numbers and the order of the data are those of the longer run, but the
// schedule of the learning rate is a function of all steps, so that the steps before followed the shorter
// run's. With train.schedule = "constant" and train.warm_up in steps there is no difference.
TrainResult train(const formats::Recipe& recipe, const TrainOptions& options);

// What train() asks before it reads any data. DataError: an unknown key, a value that cannot be used.
void check_recipe(const formats::Recipe& recipe);

}  // namespace fovea::train
