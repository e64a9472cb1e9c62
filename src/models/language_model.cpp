#include "fovea/models/language_model.hpp"

#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/autograd/functions/dropout.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/functions/losses.hpp"
#include "models/config_json.hpp"

namespace fovea::models {

using autograd::Var;

LanguageModel::LanguageModel(const LanguageModelConfig& c, uint64_t seed) : config_(c) {
  check_argument(c.kind == ModelKind::kAttention || c.kind == ModelKind::kLstm, "language_model",
                 "expected kind attention or lstm, got {}", to_string(c.kind));
  check_argument(c.vocab_size >= 1 && c.layers >= 1 && c.width >= 1 && c.heads >= 1 && c.feed_forward >= 1 &&
                     c.context >= 1,
                 "language_model", "expected sizes of at least 1, got {}", c.to_json());
  check_argument(c.kind != ModelKind::kAttention || c.width % c.heads == 0, "language_model",
                 "expected heads that divide the width, got {} heads and width {}", c.heads, c.width);
  Random random(RandomKey{seed, 1});
  embedding_ = nn::TokenEmbedding(
      {.vocabulary = c.vocab_size,
       .width = c.width,
       .positions = c.kind == ModelKind::kAttention ? nn::Positions::kLearned : nn::Positions::kNone,
       .max_length = c.context,
       .dropout = c.dropout},
      random);
  if (c.kind == ModelKind::kAttention) {
    nn::TransformerOptions options;
    options.width = c.width;
    options.layers = c.layers;
    options.heads = c.heads;
    options.feed_forward_width = c.feed_forward;
    options.causal = true;
    options.bias = c.bias;
    options.attention_dropout = c.dropout;
    options.residual_dropout = c.dropout;
    options.initialization = nn::Initialization::kNormal;
    options.scaled_residuals = true;
    transformer_ = nn::Transformer(options, random);
  } else {
    recurrent_ = nn::RecurrentStack(
        {.in = c.width, .hidden = c.width, .layers = c.layers, .dropout = c.dropout}, random);
  }
}

void LanguageModel::visit(nn::ModuleVisitor& visitor) {
  visitor.child("embedding", embedding_);
  if (config_.kind == ModelKind::kAttention) {
    visitor.child("transformer", transformer_);
  } else {
    visitor.child("lstm", recurrent_);
  }
}

Var LanguageModel::embed(const Tensor& ids, const Offsets& offsets, nn::Context& context) const {
  return embedding_.forward(context, ids, offsets);
}

Var LanguageModel::hidden_of(const Var& x, const Offsets& offsets, nn::Context& context) const {
  if (config_.kind == ModelKind::kAttention) return transformer_.forward(context, x, offsets);
  const Var h = recurrent_.forward(context, x, offsets);
  return autograd::dropout(h, context.rate(config_.dropout), context.next_key());
}

Var LanguageModel::logits(const Var& hidden) const {
  return autograd::linear(hidden, embedding_.tokens.weight);
}

Var LanguageModel::loss(const Tensor& ids, const Tensor& targets, const Offsets& offsets,
                        nn::Context& context) const {
  return autograd::linear_cross_entropy(hidden(ids, offsets, context), embedding_.tokens.weight, {}, targets);
}

Tensor LanguageModel::next(std::span<const int32_t> ids, State& state) const {
  const auto count = static_cast<int64_t>(ids.size());
  check_argument(count > 0, "language_model", "expected at least one token, got none");
  check_argument(config_.kind != ModelKind::kAttention || state.length + count <= config_.context,
                 "language_model", "expected at most {} tokens in all, got {}", config_.context,
                 state.length + count);
  nn::Context context;
  const Offsets offsets = Offsets::single(count);
  const int64_t first[] = {state.length};
  const Var x = embedding_.forward(context, Tensor::from<int32_t>(ids, {count}), offsets, first);
  const Var h = config_.kind == ModelKind::kAttention
                    ? transformer_.forward(context, x, offsets, nullptr, &state.cache)
                    : recurrent_.forward(context, x, offsets, &state.recurrent);
  state.length += count;
  return logits(Var(h.value().rows(count - 1, count))).value().reshape({config_.vocab_size});
}

std::string LanguageModelConfig::to_json() const {
  return nlohmann::ordered_json{{"model_type", "fovea_language_model"},
                                {"kind", to_string(kind)},
                                {"vocab_size", vocab_size},
                                {"num_hidden_layers", layers},
                                {"hidden_size", width},
                                {"num_attention_heads", heads},
                                {"intermediate_size", feed_forward},
                                {"max_position_embeddings", context},
                                {"hidden_dropout_prob", dropout},
                                {"bias", bias},
                                {"tie_word_embeddings", true}}
      .dump();
}

LanguageModelConfig LanguageModelConfig::parse(std::string_view json, std::string_view where) {
  const formats::Json j = formats::parse_json(json, where);
  const auto whole = [&](const char* key, int64_t most) { return config_number(j, key, 1, most, where); };
  LanguageModelConfig c;
  c.kind = config_kind(j, where);
  c.vocab_size = whole("vocab_size", kMostSize);
  c.layers = whole("num_hidden_layers", 1024);
  c.width = whole("hidden_size", 1 << 16);
  c.heads = whole("num_attention_heads", 1 << 16);
  c.feed_forward = whole("intermediate_size", kMostSize);
  c.context = whole("max_position_embeddings", kMostSize);
  c.dropout = formats::json_member<float>(j, "hidden_dropout_prob", where);
  c.bias = formats::json_member<bool>(j, "bias", where);
  return c;
}

double least_parameters(const LanguageModelConfig& c) {
  const auto width = static_cast<double>(c.width), layers = static_cast<double>(c.layers);
  const auto rows = static_cast<double>(c.vocab_size);
  if (c.kind != ModelKind::kAttention) return width * (rows + layers * 8 * width);  // four gates read twice
  return width * (rows + static_cast<double>(c.context) +
                  layers * (4 * width + 2 * static_cast<double>(c.feed_forward)));
}

}  // namespace fovea::models
