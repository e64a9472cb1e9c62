// Continuing a text: how the next token is chosen from the model's probabilities.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "fovea/base/function_ref.hpp"
#include "fovea/base/random.hpp"
#include "fovea/formats/tokenizer.hpp"
#include "fovea/models/language_model.hpp"

namespace fovea::tasks {

// How much of the model's distribution is left to chance; by default all of it.
struct Sampler {
  double temperature = 1.0;  // logits are divided by it; 0: always the most likely token (greedy)
  int64_t top_k = 0;         // only the k most likely tokens; 0: all (Fan et al. 2018)
  double top_p =
      1.0;  // only the most likely tokens that together reach this probability (Holtzman et al. 2020)
};

// The token chosen with the uniform number u in [0, 1). Order: temperature, top-k, top-p. Ties go to the
// lower id; the most likely token always remains, one whose logit is −∞ never does. ArgumentError unless
// temperature >= 0, top_k >= 0, 0 < top_p <= 1, and the logits are below +∞, no NaN, and not all −∞.
int32_t sample(std::span<const float> logits, const Sampler& sampler, double u);

// Whether what earlier tokens gave is kept. The texts are equal; recomputing is for tests and doubts.
enum class Caching { kKeysAndValues, kRecompute };

// How a text is continued.
struct GenerateOptions {
  int64_t max_tokens = 256;                   // of the continuation; the end's token may come before
  Sampler sampler{};                          // draws from the whole distribution
  uint64_t seed = 1;                          // the same seed, prompt and model give the same text
  Caching caching = Caching::kKeysAndValues;  // a token then costs one token's work
};

// Tokenizer and network of a trained language model, and their folder. Many threads may use one.
struct TextGenerator {
  std::shared_ptr<const formats::Tokenizer> tokenizer;  // of the network's vocab_size
  std::shared_ptr<models::LanguageModel> network;       // shared with whoever trains or explains it
  std::filesystem::path loaded_from;  // the folder that load read, for errors; empty for a model in training

  // The continuation, without the prompt. An empty prompt begins with a line feed where the vocabulary has
  // one, else with token 0. When the context is full, its later half is kept and read again. `token` is
  // called after each token with the continuation so far and ends the generation by giving false. The unknown
  // token and special ones but the end's are never drawn, nor a byte that is not UTF-8 where it stands; of a
  // last character that lacks bytes nothing is given, so that both are always UTF-8. DataError names the
  // folder when the model's scores are not finite.
  std::string generate(std::string_view prompt, const GenerateOptions& options = {}) const;
  std::string generate(std::string_view prompt, const GenerateOptions& options,
                       FunctionRef<bool(std::string_view so_far)> token) const;

  // The sum of −ln P over ids[1 …], read in windows of the context, and how many were predicted: every token
  // but the first of each window.
  struct Likelihood {
    double nats = 0.0;   // the sum, natural logarithms
    int64_t tokens = 0;  // how many were predicted
  };
  // DataError names the folder when the loss of a loaded model is not finite.
  Likelihood likelihood(std::span<const int32_t> ids) const;

  // config.json and tokenizer.json, and model.safetensors. Atomic; DataError on a full disk.
  void save_description(const std::filesystem::path& folder) const;
  void save_weights(const std::filesystem::path& folder) const;

  // DataError: a file that is missing, damaged or does not fit the others, or weights that are not finite.
  static TextGenerator load(const std::filesystem::path& folder);
};

}  // namespace fovea::tasks
