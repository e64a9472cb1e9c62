#include "fovea/models/language_model.hpp"

#include <nlohmann/json.hpp>

#include "base/check.hpp"
#include "fovea/autograd/functions/dropout.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/functions/losses.hpp"

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
  LanguageModelConfig c;
  try {
    const auto j = nlohmann::json::parse(json);
    c.kind = model_kind(j.at("kind").get<std::string>());
    c.vocab_size = j.at("vocab_size");
    c.layers = j.at("num_hidden_layers");
    c.width = j.at("hidden_size");
    c.heads = j.at("num_attention_heads");
    c.feed_forward = j.at("intermediate_size");
    c.context = j.at("max_position_embeddings");
    c.dropout = j.at("hidden_dropout_prob");
    c.bias = j.at("bias");
  } catch (const std::exception& error) {
    throw_data(where, "expected the configuration of a language model, found: {}", error.what());
  }
  constexpr int64_t kMost = int64_t{1} << 31;  // a damaged file must not ask for all the memory there is
  for (const int64_t n : {c.vocab_size, c.layers, c.width, c.heads, c.feed_forward, c.context}) {
    check_data(n >= 1 && n < kMost, where, "expected sizes between 1 and 2^31, found {}", n);
  }
  check_data(c.width <= 1 << 16 && c.layers <= 1024 && c.vocab_size * c.width < int64_t{1} << 34, where,
             "expected a model of at most 2^34 numbers a table, found vocab_size {} and hidden_size {}",
             c.vocab_size, c.width);
  return c;
}

}  // namespace fovea::models
