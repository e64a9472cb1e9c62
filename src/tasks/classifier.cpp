#include "fovea/tasks/classifier.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/formats/file.hpp"
#include "fovea/formats/manifest.hpp"
#include "fovea/formats/safetensors.hpp"
#include "models/config_json.hpp"
#include "tasks/finite.hpp"
#include "tasks/with_weights.hpp"

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

formats::Encoding Classifier::encode(std::string_view text, bool* cut) const {
  check_argument(tokenizer != nullptr, "classifier", "expected a model with a tokenizer, got kind {}",
                 to_string(kind));
  const int64_t most = network->config().max_tokens;
  const std::string_view head = head_of(text, most);
  auto encoding = tokenizer->encode(head);
  const bool longer = static_cast<int64_t>(encoding.ids.size()) > most;
  if (cut != nullptr) *cut = longer || head.size() < text.size();
  if (longer) {
    encoding.ids.resize(static_cast<size_t>(most));
    encoding.spans.resize(static_cast<size_t>(most));
  }
  return encoding;
}

std::vector<float> Classifier::probabilities(std::span<const std::string_view> texts, int64_t* cut) const {
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
  for (const std::string_view text : texts) {
    bool was_cut = false;
    encoded.push_back(models::network_input(text, encode(text, &was_cut), network->config()));
    if (cut != nullptr && was_cut) ++*cut;
  }
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

// What every kind has in its config.json.
void read_description(const formats::Json& json, const std::string& where, Classifier& c) {
  c.kind = models::config_kind(json, where);
  c.text_column = formats::json_member<std::string>(json, "text_column", where);
  c.target_column = formats::json_member<std::string>(json, "target_column", where);
  const auto names = formats::json_member<formats::Json>(json, "id2label", where);
  check_data(
      names.is_object() && !names.empty(), where,
      "expected the classes under \"id2label\", an object of at least one, found {}; the file is damaged "
      "or of another kind",
      names.is_object() ? "an empty one" : formats::json_kind(names));
  for (size_t i = 0; i < names.size(); ++i)
    c.classes.push_back(formats::json_member<std::string>(names, std::to_string(i), where));
}

models::NgramOptions read_ngrams(const formats::Json& json, const std::string& where) {
  const auto ngrams = formats::json_member<formats::Json>(json, "ngrams", where);
  const auto number = [&](const char* key, int64_t least, int64_t most) {
    return static_cast<int>(models::config_number(ngrams, key, least, most, where));
  };
  models::NgramOptions options;
  options.words = number("words", 0, 64);
  options.chars_min = number("chars_min", 1, 64);
  options.chars_max = number("chars_max", 0, 64);
  return options;
}

Classifier load_files(const std::filesystem::path& folder) {
  formats::verify_files(folder);
  const auto path = folder / "config.json";
  const std::string where = path.string();
  const std::string text = formats::read_file(path, int64_t{1} << 26);
  const formats::Json json = formats::parse_json(text, where);
  Classifier c;
  c.loaded_from = folder;
  read_description(json, where, c);
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
    c.ngrams = models::Ngrams::restore(read_ngrams(json, where), hashes ? *hashes : Tensor{},
                                       idf ? *idf : Tensor{}, weights_where);
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
    check_sizes(models::least_parameters(config), weights, where);
    c.network = with_weights<models::TextEnsemble>(config, weights, weights_where);
  }
  return c;
}

}  // namespace

Classifier Classifier::load(const std::filesystem::path& folder) {
  return formats::read_model(folder, load_files);
}

}  // namespace fovea::tasks
