#include "fovea/tasks/classifier.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/safetensors.hpp"
#include "fovea/nn/initialization.hpp"
#include "tasks/finite.hpp"

namespace fovea::tasks {
namespace {

using models::ModelKind;

constexpr size_t kBatchTokens = 4096;

void softmax_into(std::span<const float> logits, std::vector<float>& out) {
  float top = logits[0];
  for (const float v : logits) top = std::max(top, v);
  double total = 0;
  for (const float v : logits) total += std::exp(static_cast<double>(v - top));
  for (const float v : logits)
    out.push_back(static_cast<float>(std::exp(static_cast<double>(v - top)) / total));
}

// At most this many bytes can matter to max_tokens tokens: no piece of any tokenizer here is longer than 64
// bytes, and a text of ten megabytes is not tokenized to read its first page. Cut between characters.
std::string_view head_of(std::string_view text, int64_t max_tokens) {
  const auto most = static_cast<size_t>(max_tokens) * 64;
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

int64_t Classifier::parameter_count() const {
  if (network) return network->parameter_count();
  if (kind == ModelKind::kLinear) return linear.weight.numel() + linear.bias.numel();
  return shares.numel();
}

formats::Encoding Classifier::encode(std::string_view text) const {
  check_argument(tokenizer != nullptr, "classifier", "expected a model with a tokenizer, got kind {}",
                 to_string(kind));
  const int64_t most = network->config().max_tokens;
  auto encoding = tokenizer->encode(head_of(text, most));
  if (static_cast<int64_t>(encoding.ids.size()) > most) {
    encoding.ids.resize(static_cast<size_t>(most));
    encoding.spans.resize(static_cast<size_t>(most));
  }
  return encoding;
}

std::vector<float> Classifier::probabilities(std::span<const std::string_view> texts) const {
  std::vector<float> out;
  out.reserve(texts.size() * classes.size());
  if (kind == ModelKind::kMajority) {
    for (size_t i = 0; i < texts.size(); ++i)
      out.insert(out.end(), shares.data(), shares.data() + classes.size());
    return out;
  }
  if (kind == ModelKind::kLinear) {
    std::vector<float> logits(classes.size());
    for (const std::string_view text : texts) {
      models::SparseRows row;
      ngrams.transform(text, row);
      linear.logits(row, 0, logits);
      check_finite_scores(logits, loaded_from);
      softmax_into(logits, out);
    }
    return out;
  }
  std::vector<models::EncodedText> encoded;
  encoded.reserve(texts.size());
  for (const std::string_view text : texts)
    encoded.push_back(models::network_input(text, encode(text), network->config()));
  return probabilities_of(encoded);
}

std::vector<float> Classifier::probabilities_of(std::span<const models::EncodedText> texts) const {
  std::vector<float> out;
  out.reserve(texts.size() * classes.size());
  for (size_t begin = 0; begin < texts.size();) {
    std::vector<const models::EncodedText*> batch;
    size_t tokens = 0;
    while (begin + batch.size() < texts.size()) {
      const auto& text = texts[begin + batch.size()];
      if (!batch.empty() && tokens + text.ids.size() > kBatchTokens) break;
      tokens += text.ids.size();
      batch.push_back(&text);
    }
    nn::Context context;
    const auto logits = network->logits(models::make_batch(batch), context);
    const auto values = logits.value().span();
    check_finite_scores(values, loaded_from);
    for (size_t n = 0; n < batch.size(); ++n)
      softmax_into(values.subspan(n * classes.size(), classes.size()), out);
    begin += batch.size();
  }
  return out;
}

void Classifier::save_description(const std::filesystem::path& folder) const {
  nlohmann::ordered_json json;
  if (network) {
    json = nlohmann::ordered_json::parse(network->config().to_json());
    tokenizer->save(folder);
  } else {
    json = {
        {"model_type", "fovea_text_classifier"}, {"kind", to_string(kind)}, {"num_labels", classes.size()}};
  }
  if (kind == ModelKind::kLinear) {
    const auto& o = ngrams.options();
    json["ngrams"] = {{"words", o.words}, {"chars_min", o.chars_min}, {"chars_max", o.chars_max}};
  }
  json["task"] = "text-classification";
  json["text_column"] = text_column;
  json["target_column"] = target_column;
  nlohmann::ordered_json names = nlohmann::ordered_json::object();
  for (size_t i = 0; i < classes.size(); ++i) names[std::to_string(i)] = classes[i];
  json["id2label"] = names;
  formats::write_atomically(
      folder / "config.json",
      json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void Classifier::save_weights(const std::filesystem::path& folder) const {
  std::vector<formats::NamedTensor> tensors;
  if (network) {
    for (const auto& p : network->parameters()) tensors.push_back({p.name, p.var.value()});
  } else if (kind == ModelKind::kLinear) {
    tensors = {{"features.hash", ngrams.hashes()},
               {"features.idf", ngrams.idf()},
               {"classifier.weight", linear.weight},
               {"classifier.bias", linear.bias}};
  } else {
    tensors = {{"classes.share", shares}};
  }
  formats::save_safetensors(folder / "model.safetensors", tensors);
}

namespace {

Classifier load_files(const std::filesystem::path& folder) {
  formats::verify_files(folder);
  const auto path = folder / "config.json";
  const std::string where = path.string();
  const std::string text = formats::read_file(path, int64_t{1} << 26);
  Classifier c;
  c.loaded_from = folder;
  models::NgramOptions options;
  try {
    const auto json = nlohmann::json::parse(text);
    c.kind = models::model_kind(json.at("kind").get<std::string>());
    c.text_column = json.at("text_column");
    c.target_column = json.at("target_column");
    const auto& names = json.at("id2label");
    for (size_t i = 0; i < names.size(); ++i)
      c.classes.push_back(names.at(std::to_string(i)).get<std::string>());
    if (c.kind == ModelKind::kLinear) {
      const auto& o = json.at("ngrams");
      options.words = o.at("words");
      options.chars_min = o.at("chars_min");
      options.chars_max = o.at("chars_max");
    }
  } catch (const std::exception& error) {
    throw_data(where,
               "expected the configuration of a text classifier, found: {}; copy the model's folder again",
               error.what());
  }
  check_data(!c.classes.empty(), where, "expected at least one class in id2label, found none");
  const auto weights_path = folder / "model.safetensors";
  const auto weights = formats::load_safetensors(weights_path);
  const std::string weights_where = weights_path.string();
  check_finite_weights(weights, folder);
  const auto tensor = [&](const char* name, const Shape& shape) {
    const Tensor* found = weights.find(name);
    check_data(found != nullptr && found->dtype() == DType::kF32 && found->shape() == shape, weights_where,
               "expected a float32 tensor \"{}\" that fits config.json, found {}", name,
               found == nullptr ? "none" : "another shape");
    return *found;
  };
  const auto classes = static_cast<int64_t>(c.classes.size());
  if (c.kind == ModelKind::kMajority) {
    c.shares = tensor("classes.share", {classes});
  } else if (c.kind == ModelKind::kLinear) {
    const Tensor* hashes = weights.find("features.hash");
    const Tensor* idf = weights.find("features.idf");
    c.ngrams =
        models::Ngrams::restore(options, hashes ? *hashes : Tensor{}, idf ? *idf : Tensor{}, weights_where);
    c.linear = {tensor("classifier.weight", {c.ngrams.size(), classes}),
                tensor("classifier.bias", {classes})};
  } else {
    const auto config = models::TextClassifierConfig::parse(text, where);
    check_data(config.classes == classes, where, "expected num_labels {} as in id2label, found {}", classes,
               config.classes);
    c.tokenizer = formats::Tokenizer::load(folder);
    check_data(c.tokenizer->vocab_size() == config.vocab_size, where,
               "expected vocab_size {} as in tokenizer.json, found {}", c.tokenizer->vocab_size(),
               config.vocab_size);
    try {
      const nn::SkipInitialization later;  // every parameter is loaded below
      c.network = std::make_shared<models::TextEnsemble>(config, 0);
      std::vector<nn::NamedTensor> state;
      state.reserve(weights.tensors.size());
      for (const auto& t : weights.tensors) state.push_back({t.name, t.tensor});
      c.network->adopt_state(state);
    } catch (const ArgumentError& error) {
      throw_data(weights_where, "expected the tensors of config.json's model: {}", error.what());
    }
  }
  return c;
}

}  // namespace

Classifier Classifier::load(const std::filesystem::path& folder) {
  return formats::read_model(folder, load_files);
}

}  // namespace fovea::tasks
