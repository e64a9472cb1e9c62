// Task: a job bound to its data and its model, as the training loop sees it. The loop knows steps, optimisers
// and files; the task knows rows, batches, losses and metrics. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fovea/autograd/var.hpp"
#include "fovea/base/progress.hpp"
#include "fovea/formats/recipe.hpp"
#include "fovea/models/kind.hpp"
#include "fovea/nn/context.hpp"
#include "fovea/nn/parameter.hpp"
#include "fovea/tasks/data_digest.hpp"

namespace fovea::tasks {

// Which rows: those that are learnt from, those that stop the training and choose its best weights, and those
// that nothing was chosen by.
enum class Split { kTrain, kValid, kTest };
const char* to_string(Split split);  // "train", "valid", "test"

// A named number of an evaluation, in the order they should be printed.
struct Figure {
  std::string name;    // "accuracy", "perplexity"
  double value = 0.0;  // losses in nats, shares in [0, 1]
};

// How good a model is on some rows; metrics.json holds the figures.
struct Evaluation {
  std::vector<Figure> figures;  // empty for a split without rows
  // What early stopping and the choice of the best weights go by; larger is better.
  double score = 0.0;
  int64_t examples = 0;  // rows; of a language model, tokens that were predicted
  // Classification: what each row was and how likely each class was, for intervals and tables. Else empty.
  std::vector<int32_t> truth;        // [N]
  std::vector<float> probabilities;  // [N, classes]
  std::vector<std::string> classes;  // names, by number

  // ArgumentError names the figures there are.
  double figure(std::string_view name) const;
};

// What a task is opened with, beside its recipe.
struct TaskOptions {
  LogSink* log = nullptr;            // what was found in the data
  ProgressSink* progress = nullptr;  // polled by kinds that fit themselves
  // A folder of an earlier start of the same run: its tokenizer.json is used instead of training one again.
  std::filesystem::path resume_from;
};

// Derive from it for a job of your own; the loop calls start_epoch and loss, evaluate, then the savers.
class Task {
 public:
  virtual ~Task() = default;

  virtual std::string name() const = 0;  // "text-classification"
  // What the model is made of.
  virtual models::ModelKind kind() const = 0;
  // What the optimiser trains; empty for kinds that fit themselves (linear, majority).
  virtual nn::Parameters parameters() = 0;
  // Trained numbers in all, whoever trains them.
  virtual int64_t parameter_count() = 0;

  // Draws the order of an epoch, a function of the recipe's seed and `epoch` alone, and gives the number of
  // batches.
  virtual int64_t start_epoch(int64_t epoch) = 0;
  // The mean loss of one batch of the epoch that was started, recorded on the current tape. `tokens` is set
  // to the batch's size.
  virtual autograd::Var loss(int64_t batch, nn::Context& context, int64_t& tokens) = 0;

  // Kinds without parameters(): the whole fit. Throws Interrupted where the progress sink asks for it;
  // starting again gives the same bits, so nothing has to be kept.
  virtual void fit() {}

  // With the parameters as they stand. A split without rows gives no figures.
  virtual Evaluation evaluate(Split split) = 0;

  // config.json and tokenizer.json: what is known before training. Written atomically.
  virtual void save_description(const std::filesystem::path& folder) = 0;
  // model.safetensors.
  virtual void save_weights(const std::filesystem::path& folder) = 0;
  // The weights of a finished run of this same task, in place of what stands here. DataError as Model::load.
  virtual void load_weights(const std::filesystem::path& folder) = 0;
  // What the data are, to be kept beside the model (data.json).
  virtual DataDigest data_digest() const = 0;
  // A few lines about the data for the model's card (Markdown).
  virtual std::string describe_data() const = 0;
};

// Reads what the recipe's `task` names: [data], [tokenizer], [model] and `seed`. Called in two strokes, so
// that a misspelt key is reported before data are read: read_settings() asks every question, open() does the
// work.
class TaskReader {
 public:
  virtual ~TaskReader() = default;
  // Reads the data, and makes tokenizer and model. DataError for data that cannot be used.
  virtual std::unique_ptr<Task> open(const TaskOptions& options) = 0;
};
// DataError for an unknown task or a value out of range.
std::unique_ptr<TaskReader> read_task(const formats::Recipe& recipe);

// The keys of [data] that name files: data.file, data.train, data.valid, data.test.
std::span<const char* const> data_file_keys();
// The recipe with absolute paths under these keys, so that it means the same from any folder.
formats::Recipe with_absolute_paths(const formats::Recipe& recipe);

}  // namespace fovea::tasks
