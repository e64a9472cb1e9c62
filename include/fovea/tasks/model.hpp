// Model: a trained model folder, ready to use.
//
//   auto model = fovea::Model::load("model/");
//   auto p = model.predict("Perl bindings for the C library");   // p.label, p.probability, p.probabilities
//
// A handle: copies share the weights. predict() and evaluate() may be called from many threads.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/data/read.hpp"
#include "fovea/tasks/classifier.hpp"
#include "fovea/tasks/generation.hpp"
#include "fovea/tasks/task.hpp"

namespace fovea {

// What a classifier says of one text.
struct Prediction {
  int32_t index = 0;                 // of the most likely class, ties to the lower
  std::string label;                 // its name
  double probability = 0.0;          // its probability
  std::vector<float> probabilities;  // [classes], summing to one
};

// What `fovea predict`, `evaluate`, `generate` and `explain` work with.
class Model {
 public:
  // DataError: no model there, or one that is damaged (every file is held against the folder's manifest); the
  // message names the file and what to do. While a run replaces the model, the old or the new one, whole.
  static Model load(const std::filesystem::path& folder);

  // As it was given to load().
  const std::filesystem::path& folder() const { return folder_; }
  // False: an earlier version wrote the folder, without a manifest, so that damage may go unseen.
  bool verified() const { return verified_; }
  const std::string& task() const { return task_; }  // "text-classification", …

  // What the model is made of, and how many trained numbers it has.
  models::ModelKind kind() const;
  int64_t parameter_count() const;

  // Classification; ArgumentError on a model of another task. The classes, in the order of
  // Prediction::probabilities.
  const std::vector<std::string>& labels() const { return classifier().classes; }

  // The classes' probabilities of a text, or of several in packed batches, in their order. Longer texts are
  // cut at the model's max_tokens. DataError when the scores are not finite.
  Prediction predict(std::string_view text) const;
  std::vector<Prediction> predict(std::span<const std::string_view> texts) const;

  // Scores on a table with the training table's columns (other names may be given). DataError for a class
  // that the model does not know, with its line.
  tasks::Evaluation evaluate(const data::Table& table, std::string_view text_column = {},
                             std::string_view target_column = {}) const;
  // The same of a file, read as data::read_table does.
  tasks::Evaluation evaluate_file(const std::filesystem::path& file) const;
  // The same of texts and the class of each. ArgumentError for others than as many of the model's classes.
  tasks::Evaluation evaluate(std::span<const std::string_view> texts,
                             std::span<const std::string_view> truths) const;

  // Language models; ArgumentError on a model of another task. See TextGenerator.
  std::string generate(std::string_view prompt, const tasks::GenerateOptions& options = {}) const {
    return language_model().generate(prompt, options);
  }

  // The parts, for looking inside. ArgumentError on a model of another task.
  const tasks::Classifier& classifier() const;
  const tasks::TextGenerator& language_model() const;

 private:
  static Model load_files(const std::filesystem::path& files);

  std::filesystem::path folder_;
  bool verified_ = false;
  std::string task_;
  std::shared_ptr<const tasks::Classifier> classifier_;
  std::shared_ptr<const tasks::TextGenerator> generator_;
};

}  // namespace fovea
