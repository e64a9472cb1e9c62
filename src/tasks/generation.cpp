#include "fovea/tasks/generation.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/safetensors.hpp"
#include "models/config_json.hpp"
#include "tasks/allowed_tokens.hpp"
#include "tasks/finite.hpp"
#include "tasks/with_weights.hpp"

namespace fovea::tasks {
namespace {

constexpr int64_t kEvaluationTokens =
    4096;  // a batch: large enough for the products, small enough for any memory

}  // namespace

int32_t sample(std::span<const float> logits, const Sampler& sampler, double u) {
  check_argument(sampler.temperature >= 0 && sampler.top_k >= 0 && sampler.top_p > 0 && sampler.top_p <= 1,
                 "sample", "expected temperature >= 0, top_k >= 0 and 0 < top_p <= 1, got {}, {} and {}",
                 sampler.temperature, sampler.top_k, sampler.top_p);
  check_argument(!logits.empty(), "sample", "expected at least one logit, got none");
  std::vector<int32_t> order;  // those of probability 0 left out, lest rounding reach them
  order.reserve(logits.size());
  for (size_t id = 0; id < logits.size(); ++id) {
    check_argument(logits[id] < std::numeric_limits<float>::infinity(), "sample",
                   "expected finite logits or -inf, got {}", logits[id]);
    if (logits[id] > -std::numeric_limits<float>::infinity()) order.push_back(static_cast<int32_t>(id));
  }
  check_argument(!order.empty(), "sample", "expected at least one logit above -inf, got none");
  const auto more_likely = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  if (sampler.temperature == 0) return *std::min_element(order.begin(), order.end(), more_likely);
  std::sort(order.begin(), order.end(), more_likely);
  size_t kept = order.size();
  if (sampler.top_k > 0) kept = std::min(kept, static_cast<size_t>(sampler.top_k));
  std::vector<double> weights(kept);
  const double top = static_cast<double>(logits[static_cast<size_t>(order[0])]);
  double total = 0;
  for (size_t i = 0; i < kept; ++i) {
    weights[i] =
        std::exp((static_cast<double>(logits[static_cast<size_t>(order[i])]) - top) / sampler.temperature);
    total += weights[i];
  }
  if (sampler.top_p < 1) {
    double reached = 0;
    size_t i = 0;
    while (i < kept && reached < sampler.top_p * total) reached += weights[i++];
    kept = std::max<size_t>(i, 1);
    total = reached;
  }
  double left = u * total;
  for (size_t i = 0; i + 1 < kept; ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[kept - 1];
}

std::string TextGenerator::generate(std::string_view prompt, const GenerateOptions& options) const {
  return generate(prompt, options, [](std::string_view) { return true; });
}

std::string TextGenerator::generate(std::string_view prompt, const GenerateOptions& options,
                                    FunctionRef<bool(std::string_view)> token) const {
  check_argument(options.max_tokens >= 0, "generate", "expected max_tokens >= 0, got {}", options.max_tokens);
  auto ids = tokenizer->encode_ids(prompt);
  if (ids.empty()) ids = tokenizer->encode_ids("\n");
  if (ids.empty()) ids = {0};
  // What follows is decoded together with the prompt: words, and SentencePiece's pieces, have a blank between
  // two of them and none at the beginning.
  const size_t known = tokenizer->decode(ids).size();
  const bool attends = network->config().kind == models::ModelKind::kAttention;
  const auto most = static_cast<size_t>(network->config().context);
  // Where the present window begins. Both ways of caching move it alike, hence their equal texts.
  size_t window = attends && ids.size() > most ? ids.size() - most : 0;
  size_t read = window;
  models::LanguageModel::State state;
  Random random(RandomKey{options.seed, 3});
  AllowedTokens allowed(*tokenizer);
  std::string text;
  for (int64_t i = 0; i < options.max_tokens; ++i) {
    if (attends && ids.size() - window > most) {
      window = ids.size() - std::max<size_t>(most / 2, 1);
      read = window;
      state = {};
    }
    if (options.caching == Caching::kRecompute) {
      read = window;
      state = {};
    }
    const Tensor row = network->next(std::span(ids).subspan(read), state);
    check_finite_scores(row.span(), loaded_from);
    std::vector<float> logits(row.span().begin(), row.span().end());
    if (!allowed.restrict_to(logits)) break;
    read = ids.size();
    ids.push_back(sample(logits, options.sampler, random.uniform_double()));
    if (ids.back() == tokenizer->eos_id()) break;
    allowed.follow(ids.back());
    if (allowed.whole()) {
      const std::string whole = tokenizer->decode(ids);
      text = whole.substr(std::min(known, whole.size()));
    }
    if (!token(text)) break;
  }
  return text;
}

TextGenerator::Likelihood TextGenerator::likelihood(std::span<const int32_t> ids) const {
  Likelihood result;
  const auto length = static_cast<size_t>(network->config().context);
  const size_t windows = std::max<size_t>(static_cast<size_t>(kEvaluationTokens) / length, 1);
  for (size_t begin = 0; begin + 1 < ids.size();) {
    std::vector<int64_t> lengths;
    const size_t first = begin;
    for (size_t w = 0; w < windows && begin + 1 < ids.size(); ++w) {
      const size_t count = std::min(length, ids.size() - 1 - begin);
      lengths.push_back(static_cast<int64_t>(count));
      begin += count;
    }
    const auto count = static_cast<int64_t>(begin - first);
    nn::Context context;
    const auto loss = network->loss(Tensor::from<int32_t>(ids.subspan(first, begin - first), {count}),
                                    Tensor::from<int32_t>(ids.subspan(first + 1, begin - first), {count}),
                                    Offsets::from_lengths(lengths), context);
    check_finite_scores(loss.value().span(), loaded_from);
    result.nats += static_cast<double>(loss.value().data()[0]) * static_cast<double>(count);
    result.tokens += count;
  }
  return result;
}

void TextGenerator::save_description(const std::filesystem::path& folder) const {
  auto json = nlohmann::ordered_json::parse(network->config().to_json());
  json["task"] = "language-model";
  formats::write_atomically(folder / "config.json", json.dump(2) + "\n");
  tokenizer->save(folder);
}

void TextGenerator::save_weights(const std::filesystem::path& folder) const {
  std::vector<formats::NamedTensor> tensors;
  for (const auto& p : network->parameters()) tensors.push_back({p.name, p.var.value()});
  formats::save_safetensors(folder / "model.safetensors", tensors);
}

namespace {

TextGenerator load_files(const std::filesystem::path& folder) {
  formats::verify_files(folder);
  const auto path = folder / "config.json";
  const auto config =
      models::LanguageModelConfig::parse(formats::read_file(path, int64_t{1} << 26), path.string());
  TextGenerator result;
  result.loaded_from = folder;
  result.tokenizer = formats::Tokenizer::load(folder);
  check_data(result.tokenizer->vocab_size() == config.vocab_size, path.string(),
             "expected vocab_size {} as in tokenizer.json, found {}", result.tokenizer->vocab_size(),
             config.vocab_size);
  const auto weights_path = folder / "model.safetensors";
  const auto weights = formats::load_safetensors(weights_path);
  check_finite_weights(weights, folder);
  check_sizes(models::least_parameters(config), weights, path.string());
  result.network = with_weights<models::LanguageModel>(config, weights, weights_path.string());
  return result;
}

}  // namespace

TextGenerator TextGenerator::load(const std::filesystem::path& folder) {
  return formats::read_model(folder, load_files);
}

}  // namespace fovea::tasks
