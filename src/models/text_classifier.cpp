#include "fovea/models/text_classifier.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/autograd/functions/activation.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/attention.hpp"
#include "fovea/autograd/functions/convolution.hpp"
#include "fovea/autograd/functions/dropout.hpp"
#include "fovea/autograd/functions/embedding.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/functions/norm.hpp"
#include "fovea/autograd/functions/pooling.hpp"
#include "fovea/autograd/functions/recurrent.hpp"
#include "fovea/autograd/functions/rows.hpp"
#include "fovea/nn/initialization.hpp"

namespace fovea::models {
namespace {

using autograd::Var;
using nn::Decay;

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

// Position of each token in its text; the last learned position serves what lies beyond.
Tensor positions_of(const Offsets& offsets, int64_t most) {
  Tensor out = Tensor::empty({offsets.total()}, DType::kI32);
  int32_t* to = out.data<int32_t>();
  for (int64_t n = 0; n < offsets.count(); ++n) {
    for (int64_t t = offsets.begin(n); t < offsets.end(n); ++t) {
      to[t] = static_cast<int32_t>(std::min(t - offsets.begin(n), most - 1));
    }
  }
  return out;
}

}  // namespace

TextClassifier::TextClassifier(const TextClassifierConfig& config, uint64_t seed) : config_(config) {
  const auto& c = config_;
  check_argument(c.kind == ModelKind::kAttention || c.kind == ModelKind::kLstm || c.kind == ModelKind::kCnn,
                 "text_classifier", "expected kind attention, lstm or cnn, got {}", to_string(c.kind));
  check_argument(c.vocab_size >= 1 && c.classes >= 1 && c.layers >= 1 && c.width >= 1 && c.feed_forward >= 1 &&
                     c.max_tokens >= 1 && c.ngrams >= 1 && c.ngram_buckets >= 1,
                 "text_classifier", "expected sizes of at least 1, got {}", c.to_json());
  check_argument(c.kind != ModelKind::kAttention || (c.heads >= 1 && c.width % c.heads == 0), "text_classifier",
                 "expected heads that divide the width, got {} heads and width {}", c.heads, c.width);
  check_argument(c.kind != ModelKind::kLstm || c.width % 2 == 0, "text_classifier",
                 "expected an even width (half a direction), got {}", c.width);
  Random random(RandomKey{seed, 1});
  const int64_t w = c.width;
  const auto normal = [&](const Shape& shape, double deviation) {
    return Var::parameter(nn::normal_tensor(shape, random, deviation));
  };
  const auto xavier = [&](const Shape& shape, double gain = 1.0) {
    return Var::parameter(nn::xavier_uniform(shape, random, gain));
  };
  const auto constant = [](int64_t n, double value) { return Var::parameter(Tensor::full({n}, value)); };
  // 0.05 rather than 0.02: with small widths and one look at each rare word, smaller embeddings start too slowly.
  tokens_ = normal({c.vocab_size, w}, 0.05);
  if (c.ngrams > 1) ngrams_ = normal({c.ngram_buckets, w}, 0.025);
  int64_t features = w;
  if (c.kind == ModelKind::kAttention) {
    positions_ = normal({c.max_tokens, w}, 0.02);
    // Branches are scaled by 1/√(2·layers), so that the residual stream keeps its size (GPT-2).
    const double branch = 1.0 / std::sqrt(2.0 * static_cast<double>(c.layers));
    for (int64_t i = 0; i < c.layers; ++i) {
      Block b;
      b.attention_gain = constant(w, 1);
      b.attention_shift = constant(w, 0);
      b.qkv_weight = xavier({3 * w, w});
      b.qkv_bias = constant(3 * w, 0);
      b.output_weight = xavier({w, w}, branch);
      b.output_bias = constant(w, 0);
      b.forward_gain = constant(w, 1);
      b.forward_shift = constant(w, 0);
      b.up_weight = xavier({c.feed_forward, w});
      b.up_bias = constant(c.feed_forward, 0);
      b.down_weight = xavier({w, c.feed_forward}, branch);
      b.down_bias = constant(w, 0);
      blocks_.push_back(std::move(b));
    }
    final_gain_ = constant(w, 1);
    final_shift_ = constant(w, 0);
    features = 2 * w;
  } else if (c.kind == ModelKind::kLstm) {
    const int64_t hidden = w / 2;
    for (int64_t i = 0; i < c.layers; ++i) {
      Recurrent r;
      for (int d = 0; d < 2; ++d) {
        r.w[d] = xavier({4 * hidden, w});
        r.u[d] = xavier({4 * hidden, hidden});
        Tensor bias = Tensor::zeros({4 * hidden});
        // The forget gate begins open (Jozefowicz et al. 2015).
        for (int64_t j = hidden; j < 2 * hidden; ++j) bias.data()[j] = 1.0F;
        r.b[d] = Var::parameter(bias);
      }
      recurrents_.push_back(std::move(r));
    }
    features = 2 * w;
  } else {
    for (const int64_t size : kWindows) windows_.push_back({xavier({w, size, w}), constant(w, 0)});
    features = w * static_cast<int64_t>(std::size(kWindows));
  }
  if (c.kind == ModelKind::kAttention) pool_query_ = normal({1, w}, 0.05);
  class_weight_ = normal({c.classes, features}, 0.02);
  class_bias_ = constant(c.classes, 0);
}

void TextClassifier::visit(nn::ModuleVisitor& v) {
  v.parameter("embeddings.word_embeddings.weight", tokens_, Decay::kNo);
  v.parameter("embeddings.ngram_embeddings.weight", ngrams_, Decay::kNo);
  v.parameter("embeddings.position_embeddings.weight", positions_, Decay::kNo);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    auto& b = blocks_[i];
    const auto name = [i](const char* rest) { return fmt::format("encoder.layer.{}.{}", i, rest); };
    v.parameter(name("attention.norm.weight"), b.attention_gain, Decay::kNo);
    v.parameter(name("attention.norm.bias"), b.attention_shift, Decay::kNo);
    v.parameter(name("attention.qkv.weight"), b.qkv_weight);
    v.parameter(name("attention.qkv.bias"), b.qkv_bias, Decay::kNo);
    v.parameter(name("attention.output.weight"), b.output_weight);
    v.parameter(name("attention.output.bias"), b.output_bias, Decay::kNo);
    v.parameter(name("feed_forward.norm.weight"), b.forward_gain, Decay::kNo);
    v.parameter(name("feed_forward.norm.bias"), b.forward_shift, Decay::kNo);
    v.parameter(name("feed_forward.up.weight"), b.up_weight);
    v.parameter(name("feed_forward.up.bias"), b.up_bias, Decay::kNo);
    v.parameter(name("feed_forward.down.weight"), b.down_weight);
    v.parameter(name("feed_forward.down.bias"), b.down_bias, Decay::kNo);
  }
  for (size_t i = 0; i < recurrents_.size(); ++i) {
    for (int d = 0; d < 2; ++d) {
      const auto name = [&](const char* rest) {
        return fmt::format("lstm.{}.{}.{}", i, d == 0 ? "forward" : "backward", rest);
      };
      v.parameter(name("input.weight"), recurrents_[i].w[d]);
      v.parameter(name("hidden.weight"), recurrents_[i].u[d]);
      v.parameter(name("bias"), recurrents_[i].b[d], Decay::kNo);
    }
  }
  for (size_t i = 0; i < windows_.size(); ++i) {
    v.parameter(fmt::format("convolution.{}.weight", kWindows[i]), windows_[i].weight);
    v.parameter(fmt::format("convolution.{}.bias", kWindows[i]), windows_[i].bias, Decay::kNo);
  }
  v.parameter("encoder.norm.weight", final_gain_, Decay::kNo);
  v.parameter("encoder.norm.bias", final_shift_, Decay::kNo);
  v.parameter("pooler.query", pool_query_, Decay::kNo);
  v.parameter("classifier.weight", class_weight_);
  v.parameter("classifier.bias", class_bias_, Decay::kNo);
}

Var TextClassifier::embed(const Tensor& ids, const Offsets& offsets, nn::Context& context) const {
  const auto& c = config_;
  check_argument(ids.dtype() == DType::kI32 && ids.rank() == 1 && ids.dim(0) == offsets.total(), "text_classifier",
                 "expected ids [{}] of int32, got {} of them", offsets.total(), ids.numel());
  Tensor kept = ids;
  const float token_rate = context.rate(c.token_dropout);
  if (token_rate > 0) {
    kept = ids.clone();
    drop_ids(kept, token_rate, context.next_key());
  }
  Var x = autograd::embedding(tokens_, kept);
  for (int64_t n = 2; n <= c.ngrams; ++n) {
    Tensor grams = ngram_ids(ids, offsets, n, c.ngram_buckets);
    const float rate = context.rate(c.ngram_dropout);
    if (rate > 0) drop_ids(grams, rate, context.next_key());
    x = autograd::add_embedding(x, ngrams_, grams);
  }
  if (positions_.defined()) x = autograd::add_embedding(x, positions_, positions_of(offsets, c.max_tokens));
  return autograd::dropout(std::move(x), context.rate(c.embedding_dropout), context.next_key());
}

Var TextClassifier::attention_body(Var x, const Offsets& offsets, nn::Context& context) const {
  const float p = context.rate(config_.dropout);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto& b = blocks_[i];
    const nn::LayerScope layer(context, "encoder.layer", static_cast<int64_t>(i));
    const nn::LayerScope attention(context, "attention");
    autograd::AttentionOptions options{.heads = config_.heads};
    options.spec.dropout = context.rate(config_.attention_dropout);
    options.spec.dropout_key = context.next_key();
    Insight seen;
    autograd::AttentionCall call;
    if (context.sink() != nullptr) {
      options.observers = context.sink()->wishes();
      options.seen = &seen;
      options.call = &call;
    }
    Var h = autograd::linear(autograd::layer_norm(x, b.attention_gain, b.attention_shift), b.qkv_weight, b.qkv_bias);
    h = autograd::attention_qkv(std::move(h), offsets, options);
    if (context.sink() != nullptr) context.sink()->attention({context.path(), call, seen});
    h = autograd::linear(h, b.output_weight, b.output_bias);
    x = autograd::dropout_add(h, std::move(x), p, context.next_key());
    h = autograd::layer_norm(x, b.forward_gain, b.forward_shift);
    h = autograd::linear_activation(h, b.up_weight, b.up_bias, autograd::Activation::kGelu);
    h = autograd::linear(h, b.down_weight, b.down_bias);
    x = autograd::dropout_add(h, std::move(x), p, context.next_key());
  }
  return autograd::layer_norm(x, final_gain_, final_shift_);
}

Var TextClassifier::pooled(const Var& x, const Offsets& offsets, nn::Context& context) const {
  // What a class needs may be said once (attention pooling, a learned query) or be the tenor of it all (mean).
  const Var scores = autograd::reshape(autograd::linear(x, pool_query_), {offsets.total()});
  Tensor weights;
  const Var parts[2] = {autograd::mean_pool(x, offsets),
                        autograd::attention_pool(x, scores, offsets, context.sink() != nullptr ? &weights : nullptr)};
  if (context.sink() != nullptr) context.sink()->pooling({"pooler", weights, offsets});
  return autograd::concat_columns(parts);
}

Var TextClassifier::classify(Var x, const Offsets& offsets, nn::Context& context) const {
  Var features;
  if (config_.kind == ModelKind::kAttention) {
    features = pooled(attention_body(std::move(x), offsets, context), offsets, context);
  } else if (config_.kind == ModelKind::kLstm) {
    for (const auto& r : recurrents_) {
      const Var parts[2] = {
          autograd::lstm(x, r.w[0], r.u[0], r.b[0], offsets),
          autograd::lstm(x, r.w[1], r.u[1], r.b[1], offsets, {.direction = autograd::Direction::kBackward})};
      x = autograd::dropout(autograd::concat_columns(parts), context.rate(config_.dropout), context.next_key());
    }
    const Var parts[2] = {autograd::mean_pool(x, offsets), autograd::max_pool(x, offsets)};
    features = autograd::concat_columns(parts);
  } else {
    std::vector<Var> parts;
    for (size_t i = 0; i < windows_.size(); ++i) {
      // One token short of the window on either side, so that a text of one token still has a window.
      const autograd::Conv1dOptions options{.pad_left = kWindows[i] - 1, .pad_right = kWindows[i] - 1};
      const Offsets out = options.out_offsets(offsets, kWindows[i]);
      Var h = autograd::conv1d(x, windows_[i].weight, windows_[i].bias, offsets, out, options);
      parts.push_back(autograd::max_pool(autograd::activation(std::move(h), autograd::Activation::kRelu), out));
    }
    features = autograd::concat_columns(parts);
  }
  features = autograd::dropout(std::move(features), context.rate(config_.pooled_dropout), context.next_key());
  return autograd::linear(features, class_weight_, class_bias_);
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
                                {"ngrams", ngrams},
                                {"ngram_buckets", ngram_buckets},
                                {"token_dropout", token_dropout},
                                {"ngram_dropout", ngram_dropout},
                                {"embedding_dropout", embedding_dropout},
                                {"hidden_dropout_prob", dropout},
                                {"attention_probs_dropout_prob", attention_dropout},
                                {"classifier_dropout", pooled_dropout}}
      .dump();
}

TextClassifierConfig TextClassifierConfig::parse(std::string_view json, std::string_view where) {
  TextClassifierConfig c;
  try {
    const auto j = nlohmann::json::parse(json);
    c.kind = model_kind(j.at("kind").get<std::string>());
    c.vocab_size = j.at("vocab_size");
    c.classes = j.at("num_labels");
    c.layers = j.at("num_hidden_layers");
    c.width = j.at("hidden_size");
    c.heads = j.at("num_attention_heads");
    c.feed_forward = j.at("intermediate_size");
    c.max_tokens = j.at("max_position_embeddings");
    c.ngrams = j.at("ngrams");
    c.ngram_buckets = j.at("ngram_buckets");
    c.token_dropout = j.at("token_dropout");
    c.ngram_dropout = j.at("ngram_dropout");
    c.embedding_dropout = j.at("embedding_dropout");
    c.dropout = j.at("hidden_dropout_prob");
    c.attention_dropout = j.at("attention_probs_dropout_prob");
    c.pooled_dropout = j.at("classifier_dropout");
  } catch (const std::exception& error) {
    throw_data(where, "expected the configuration of a text classifier, found: {}", error.what());
  }
  // A damaged file must not ask for all the memory there is.
  constexpr int64_t kMost = int64_t{1} << 31;
  for (const int64_t n : {c.vocab_size, c.classes, c.layers, c.width, c.heads, c.feed_forward, c.max_tokens, c.ngrams,
                          c.ngram_buckets}) {
    check_data(n >= 1 && n < kMost, where, "expected sizes between 1 and 2^31, found {}", n);
  }
  check_data(c.width <= 1 << 16 && c.layers <= 1024 && c.vocab_size * c.width < int64_t{1} << 34, where,
             "expected a model of at most 2^34 numbers a table, found vocab_size {} and hidden_size {}", c.vocab_size, c.width);
  return c;
}

}  // namespace fovea::models
