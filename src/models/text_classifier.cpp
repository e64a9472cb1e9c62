#include "fovea/models/text_classifier.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/autograd/functions/activation.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/embedding.hpp"
#include "fovea/autograd/functions/pooling.hpp"
#include "fovea/autograd/functions/rows.hpp"
#include "fovea/formats/printable.hpp"
#include "fovea/nn/dropout.hpp"
#include "models/config_json.hpp"

namespace fovea::models {
namespace {

using autograd::Var;

constexpr int64_t kWindows[] = {2, 3, 4};

// Ids of the hashed n-grams that end at each token, within its text; −1 where the text is too short for one.
Tensor ngram_ids(const Tensor& ids, const Offsets& offsets, int64_t length, int64_t buckets) {
  Tensor out = Tensor::empty({ids.numel()}, DType::kI32);
  const int32_t* from = ids.data<int32_t>();
  int32_t* to = out.data<int32_t>();
  for (int64_t n = 0; n < offsets.count(); ++n) {
    for (int64_t t = offsets.begin(n); t < offsets.end(n); ++t) {
      if (t - offsets.begin(n) + 1 < length) {
        to[t] = -1;
        continue;
      }
      uint64_t h = static_cast<uint64_t>(length);
      for (int64_t i = t - length + 1; i <= t; ++i) {
        h = (h ^ static_cast<uint64_t>(static_cast<uint32_t>(from[i]))) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
      }
      to[t] = static_cast<int32_t>(h % static_cast<uint64_t>(buckets));
    }
  }
  return out;
}

// Sets ids to −1 (a zero embedding) with probability p: word t of the key's stream decides id t.
void drop_ids(Tensor& ids, float p, RandomKey key) {
  if (p <= 0) return;
  const auto bound = static_cast<uint32_t>(std::min(static_cast<double>(p) * 0x1p32, 4294967295.0));
  const auto values = ids.span<int32_t>();
  std::array<uint32_t, 4> words{};
  for (size_t t = 0; t < values.size(); ++t) {
    if (t % 4 == 0) words = key.block(t / 4);
    if (words[t % 4] < bound) values[t] = -1;
  }
}

}  // namespace

TextClassifier::TextClassifier(const TextClassifierConfig& config, uint64_t seed) : config_(config) {
  const auto& c = config_;
  check_argument(c.kind == ModelKind::kAttention || c.kind == ModelKind::kLstm || c.kind == ModelKind::kCnn,
                 "text_classifier", "expected kind attention, lstm or cnn, got {}", to_string(c.kind));
  check_argument(c.vocab_size >= 1 && c.classes >= 1 && c.layers >= 1 && c.width >= 1 &&
                     c.feed_forward >= 1 && c.max_tokens >= 1 && c.ngrams >= 1 && c.ngram_buckets >= 1 &&
                     c.char_ngrams >= 0 && c.char_buckets >= 1,
                 "text_classifier", "expected sizes of at least 1, got {}", c.to_json());
  check_argument(c.kind != ModelKind::kAttention || (c.heads >= 1 && c.width % c.heads == 0),
                 "text_classifier", "expected heads that divide the width, got {} heads and width {}",
                 c.heads, c.width);
  check_argument(!c.pooling.empty(), "text_classifier", "expected at least one pooling, got none");
  check_argument(c.kind != ModelKind::kLstm || c.width % 2 == 0, "text_classifier",
                 "expected an even width (half a direction), got {}", c.width);
  Random random(RandomKey{seed, 1});
  // 0.05 rather than 0.02: with small widths and one look at each rare word, smaller embeddings start too
  // slowly.
  tokens_ = nn::Embedding(c.vocab_size, c.width, random, 0.05);
  if (c.ngrams > 1) ngrams_ = nn::Embedding(c.ngram_buckets, c.width, random, 0.025);
  if (c.char_ngrams > 0) chars_ = nn::Embedding(c.char_buckets, c.width, random, 0.05);
  int64_t features = 2 * c.width;
  if (c.kind == ModelKind::kAttention) {
    positions_ = nn::Embedding(c.max_tokens, c.width, random, 0.02);
    nn::TransformerOptions options;
    options.width = c.width;
    options.layers = c.layers;
    options.heads = c.heads;
    options.feed_forward_width = c.feed_forward;
    options.attention_dropout = c.attention_dropout;
    options.residual_dropout = c.dropout;
    options.feed_forward_dropout = c.dropout;
    options.scaled_residuals = true;
    transformer_ = nn::Transformer(options, random);
    for (const nn::PoolingKind kind : c.pooling) pooling_.emplace_back(kind, c.width, random);
    features = static_cast<int64_t>(c.pooling.size()) * c.width;
  } else if (c.kind == ModelKind::kLstm) {
    recurrent_ = nn::RecurrentStack({.in = c.width,
                                     .hidden = c.width / 2,
                                     .layers = c.layers,
                                     .bidirectional = true,
                                     .dropout = c.dropout},
                                    random);
  } else {
    for (const int64_t window : kWindows) {
      convolutions_.emplace_back(nn::Conv1dLayerOptions{.in = c.width, .out = c.width, .width = window},
                                 random);
    }
    features = c.width * static_cast<int64_t>(std::size(kWindows));
  }
  classifier_ = nn::Linear(features, c.classes, random);
}

void TextClassifier::visit(nn::ModuleVisitor& visitor) {
  visitor.child("tokens", tokens_);
  if (config_.ngrams > 1) visitor.child("ngrams", ngrams_);
  if (config_.char_ngrams > 0) visitor.child("characters", chars_);
  if (config_.kind == ModelKind::kAttention) {
    visitor.child("positions", positions_);
    visitor.child("encoder", transformer_);
    for (nn::Pooling& pooling : pooling_) {
      if (pooling.kind() == nn::PoolingKind::kAttention) visitor.child("pooling", pooling);
    }
  } else if (config_.kind == ModelKind::kLstm) {
    visitor.child("lstm", recurrent_);
  } else {
    for (size_t i = 0; i < convolutions_.size(); ++i) visitor.child("convolutions", i, convolutions_[i]);
  }
  visitor.child("classifier", classifier_);
}

Var TextClassifier::embed(const TextBatch& batch, nn::Context& context) const {
  const auto& c = config_;
  const auto& offsets = batch.offsets;
  check_argument(batch.ids.defined() && batch.ids.dtype() == DType::kI32 && batch.ids.rank() == 1 &&
                     batch.ids.dim(0) == offsets.total(),
                 "text_classifier", "expected ids [{}] of int32, got {} of them", offsets.total(),
                 batch.ids.numel());
  Tensor words = batch.ids;
  if (const float rate = context.rate(c.word_dropout); rate > 0) {
    words = words.clone();
    drop_ids(words, rate, context.next_key());
  }
  Var x = tokens_.forward(words);
  if (c.char_ngrams > 0) {
    check_argument(batch.chars.defined() && batch.char_offsets.count() == offsets.total(), "text_classifier",
                   "expected the character n-grams of {} tokens, got those of {}", offsets.total(),
                   batch.char_offsets.count());
    Tensor grams = batch.chars;
    if (const float rate = context.rate(c.ngram_dropout); rate > 0) {
      grams = grams.clone();
      drop_ids(grams, rate, context.next_key());
    }
    // A mean of many independent rows is small; twice it brings the parts to the word's size.
    x = autograd::add(autograd::scale(autograd::mean_pool(chars_.forward(grams), batch.char_offsets), 2.0F),
                      x);
  }
  for (int64_t n = 2; n <= c.ngrams; ++n) {
    Tensor grams = ngram_ids(batch.ids, offsets, n, c.ngram_buckets);
    if (const float rate = context.rate(c.ngram_dropout); rate > 0) drop_ids(grams, rate, context.next_key());
    x = autograd::add_embedding(x, ngrams_.weight, grams);
  }
  if (c.kind == ModelKind::kAttention) {
    check_argument(offsets.max_length() <= c.max_tokens, "text_classifier",
                   "expected texts of at most {} tokens, got {}", c.max_tokens, offsets.max_length());
    x = autograd::add_embedding(x, positions_.weight, nn::positions_of(offsets));
  }
  return nn::dropout(context, nn::token_dropout(context, std::move(x), c.token_dropout), c.embedding_dropout);
}

Var TextClassifier::classify(Var x, const Offsets& offsets, nn::Context& context) const {
  Var features;
  if (config_.kind == ModelKind::kCnn) {
    std::vector<Var> parts;
    for (const auto& convolution : convolutions_) {
      auto h = convolution.forward(x, offsets);
      parts.push_back(autograd::max_pool(
          autograd::activation(std::move(h.tokens), autograd::Activation::kRelu), h.offsets));
    }
    features = autograd::concat_columns(parts);
  } else if (config_.kind == ModelKind::kLstm) {
    x = nn::dropout(context, recurrent_.forward(context, x, offsets), config_.dropout);
    const Var parts[2] = {autograd::mean_pool(x, offsets), autograd::max_pool(x, offsets)};
    features = autograd::concat_columns(parts);
  } else {
    x = transformer_.forward(context, x, offsets);
    std::vector<Var> parts;
    parts.reserve(pooling_.size());
    for (const nn::Pooling& pooling : pooling_) parts.push_back(pooling.forward(context, x, offsets));
    features = autograd::concat_columns(parts);
  }
  return classifier_.forward(nn::dropout(context, std::move(features), config_.pooled_dropout));
}

void append_token(int32_t id, std::string_view token, const TextClassifierConfig& config, EncodedText& text) {
  text.ids.push_back(id);
  if (config.char_ngrams == 0) return;
  const auto before = text.chars.size();
  // Long tokens (a URL) are known by their beginning.
  std::string marked(1, '<');
  marked.append(token.substr(0, 64));
  marked.push_back('>');
  for (char& c : marked) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (size_t begin = 0; begin < marked.size(); ++begin) {
    uint64_t h = 0xcbf29ce484222325u;
    const size_t end = std::min(marked.size(), begin + static_cast<size_t>(config.char_ngrams));
    for (size_t i = begin; i < end; ++i) {
      h = (h ^ static_cast<unsigned char>(marked[i])) * 0x100000001b3u;
      if (i - begin + 1 < 3) continue;
      uint64_t mixed = (h ^ h >> 31) * 0x9E3779B97F4A7C15u;
      mixed ^= mixed >> 29;
      text.chars.push_back(static_cast<int32_t>(mixed % static_cast<uint64_t>(config.char_buckets)));
    }
  }
  text.char_counts.push_back(static_cast<int32_t>(text.chars.size() - before));
}

EncodedText network_input(std::string_view text, const formats::Encoding& encoding,
                          const TextClassifierConfig& config) {
  EncodedText result;
  for (size_t i = 0; i < encoding.ids.size(); ++i) {
    const auto span = encoding.spans[i];
    append_token(encoding.ids[i],
                 text.substr(static_cast<size_t>(span.begin), static_cast<size_t>(span.end - span.begin)),
                 config, result);
  }
  return result;
}

TextBatch make_batch(std::span<const EncodedText* const> texts) {
  int64_t tokens = 0, chars = 0;
  bool has_chars = false;
  std::vector<int64_t> lengths, counts;
  lengths.reserve(texts.size());
  for (const auto* text : texts) {
    tokens += static_cast<int64_t>(text->ids.size());
    chars += static_cast<int64_t>(text->chars.size());
    lengths.push_back(static_cast<int64_t>(text->ids.size()));
    has_chars = has_chars || !text->char_counts.empty();
    counts.insert(counts.end(), text->char_counts.begin(), text->char_counts.end());
  }
  TextBatch batch;
  batch.offsets = Offsets::from_lengths(lengths);
  batch.ids = Tensor::empty({tokens}, DType::kI32);
  int32_t* to = batch.ids.data<int32_t>();
  for (const auto* text : texts) to = std::copy(text->ids.begin(), text->ids.end(), to);
  if (has_chars || tokens == 0) {
    batch.chars = Tensor::empty({chars}, DType::kI32);
    batch.char_offsets = Offsets::from_lengths(counts);
    to = batch.chars.data<int32_t>();
    for (const auto* text : texts) to = std::copy(text->chars.begin(), text->chars.end(), to);
  }
  return batch;
}

std::vector<nn::PoolingKind> poolings(std::span<const std::string> names) {
  std::vector<nn::PoolingKind> kinds;
  for (const std::string& name : names) {
    kinds.push_back(nn::pooling_kind(name));
    check_argument(std::count(kinds.begin(), kinds.end(), kinds.back()) == 1, "poolings",
                   "expected no pooling twice, got {} again", name);
  }
  check_argument(!kinds.empty(), "poolings", "expected at least one of first, last, mean, max and attention");
  return kinds;
}

std::vector<std::string> pooling_names(std::span<const nn::PoolingKind> kinds) {
  std::vector<std::string> names;
  for (const nn::PoolingKind kind : kinds) names.emplace_back(nn::to_string(kind));
  return names;
}

std::string TextClassifierConfig::to_json() const {
  return nlohmann::ordered_json{{"model_type", "fovea_text_classifier"},
                                {"kind", to_string(kind)},
                                {"vocab_size", vocab_size},
                                {"num_labels", classes},
                                {"num_hidden_layers", layers},
                                {"hidden_size", width},
                                {"num_attention_heads", heads},
                                {"intermediate_size", feed_forward},
                                {"max_position_embeddings", max_tokens},
                                {"pooling", pooling_names(pooling)},
                                {"members", members},
                                {"ngrams", ngrams},
                                {"ngram_buckets", ngram_buckets},
                                {"char_ngrams", char_ngrams},
                                {"char_buckets", char_buckets},
                                {"token_dropout", token_dropout},
                                {"word_dropout", word_dropout},
                                {"ngram_dropout", ngram_dropout},
                                {"embedding_dropout", embedding_dropout},
                                {"hidden_dropout_prob", dropout},
                                {"attention_probs_dropout_prob", attention_dropout},
                                {"classifier_dropout", pooled_dropout}}
      .dump();
}

TextClassifierConfig TextClassifierConfig::parse(std::string_view json, std::string_view where) {
  const formats::Json j = formats::parse_json(json, where);
  TextClassifierConfig c;
  const auto whole = [&](const char* key, int64_t least, int64_t most) {
    return config_number(j, key, least, most, where);
  };
  const auto rate = [&](const char* key) { return formats::json_member<float>(j, key, where); };
  c.kind = config_kind(j, where);
  c.vocab_size = whole("vocab_size", 1, kMostSize);
  c.classes = whole("num_labels", 1, kMostSize);
  c.layers = whole("num_hidden_layers", 1, 1024);
  c.width = whole("hidden_size", 1, 1 << 16);
  c.heads = whole("num_attention_heads", 1, 1 << 16);
  c.feed_forward = whole("intermediate_size", 1, kMostSize);
  c.max_tokens = whole("max_position_embeddings", 1, kMostSize);
  // Not in models of before there were any.
  if (j.contains("members")) c.members = whole("members", 1, 1024);
  if (j.contains("pooling")) {
    const auto names = formats::json_member<std::vector<std::string>>(j, "pooling", where);
    try {
      c.pooling = poolings(names);
    } catch (const ArgumentError&) {
      throw_data(
          where,
          "expected one or more of first, last, mean, max and attention under \"pooling\", none twice, "
          "found {}",
          names.empty() ? "none" : formats::printable_list(names));
    }
  }
  c.ngrams = whole("ngrams", 1, 64);
  c.ngram_buckets = whole("ngram_buckets", 1, kMostSize);
  c.char_ngrams = whole("char_ngrams", 0, 64);
  c.char_buckets = whole("char_buckets", 1, kMostSize);
  c.token_dropout = rate("token_dropout");
  c.word_dropout = rate("word_dropout");
  c.ngram_dropout = rate("ngram_dropout");
  c.embedding_dropout = rate("embedding_dropout");
  c.dropout = rate("hidden_dropout_prob");
  c.attention_dropout = rate("attention_probs_dropout_prob");
  c.pooled_dropout = rate("classifier_dropout");
  return c;
}

double least_parameters(const TextClassifierConfig& c) {
  const auto width = static_cast<double>(c.width), layers = static_cast<double>(c.layers);
  double rows = static_cast<double>(c.vocab_size);
  if (c.ngrams > 1) rows += static_cast<double>(c.ngram_buckets);
  if (c.char_ngrams > 0) rows += static_cast<double>(c.char_buckets);
  double each = 0;  // of a layer, to the row
  if (c.kind == ModelKind::kAttention) {
    rows += static_cast<double>(c.max_tokens);
    each = 4 * width + 2 * static_cast<double>(c.feed_forward);
  } else if (c.kind == ModelKind::kLstm) {
    each = 6 * width;  // two directions of half the width, each with four gates that read a row and remember
  } else {
    for (const int64_t window : kWindows) rows += static_cast<double>(window) * width;
  }
  return static_cast<double>(c.members) * width * (rows + layers * each + static_cast<double>(c.classes));
}

}  // namespace fovea::models
