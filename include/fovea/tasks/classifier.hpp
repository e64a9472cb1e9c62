// Classifier: everything that turns a text into class probabilities — tokenizer, model of any kind, class
// names — and its folder. predict() may be called from many threads.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fovea/formats/tokenizer.hpp"
#include "fovea/models/kind.hpp"
#include "fovea/models/linear_classifier.hpp"
#include "fovea/models/ngrams.hpp"
#include "fovea/models/text_ensemble.hpp"

namespace fovea::tasks {

// Model::predict is the short way; here are the parts.
struct Classifier {
  models::ModelKind kind = models::ModelKind::kAttention;  // which of the parts below are there
  std::vector<std::string> classes;                        // their names, by number

  // What the training table called its columns, so that other tables can be read.
  std::string text_column = "text";
  std::string target_column = "label";

  // attention, lstm, cnn; else null
  std::shared_ptr<const formats::Tokenizer> tokenizer;
  std::shared_ptr<models::TextEnsemble> network;

  // linear; else empty
  models::Ngrams ngrams;
  models::LinearClassifier linear;

  // majority: the classes' shares of the training rows [classes]
  Tensor shares;
  std::filesystem::path loaded_from;  // the folder that load read, for errors; empty for a model in training

  // Trained numbers: of the network, of the linear weights, or the shares.
  int64_t parameter_count() const;
  // Token ids as the network gets them: the text cut to the model's max_tokens, and whether it was.
  // ArgumentError for a kind without a tokenizer.
  formats::Encoding encode(std::string_view text, bool* cut = nullptr) const;
  // Tokens of a text that are read at most; 0 where all of them are (linear, majority).
  int64_t most_tokens() const { return network ? network->config().max_tokens : 0; }
  // Probabilities [N, classes], rows summing to one. Texts are worked on in packed batches of about 4,096
  // tokens; the result of a text does not depend on the others, but for the rounding of products of another
  // number of rows. DataError names the folder when the scores of a loaded model are not finite.
  // `cut`, where given, grows by the number of texts that were longer than most_tokens() and cut there.
  std::vector<float> probabilities(std::span<const std::string_view> texts, int64_t* cut = nullptr) const;
  // The same of texts that are encoded already.
  std::vector<float> probabilities_of(std::span<const models::EncodedText> texts) const;

  // config.json (and tokenizer.json), model.safetensors. Atomic; DataError on a full disk.
  void save_description(const std::filesystem::path& folder) const;
  void save_weights(const std::filesystem::path& folder) const;

  // DataError: a file that is missing, damaged or does not fit the others, each named; weights that are not
  // finite.
  static Classifier load(const std::filesystem::path& folder);
};

}  // namespace fovea::tasks
