// A network that continues a text, token by token: P(token t | tokens before t). Attention (GPT-2's pre-norm
// decoder: Radford et al. 2019) or LSTM. The output projection shares the embedding's weights (Press and Wolf
// 2017).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fovea/models/kind.hpp"
#include "fovea/nn/positions.hpp"
#include "fovea/nn/recurrent.hpp"
#include "fovea/nn/transformer.hpp"

namespace fovea::models {

// The shape of a language model; config.json of its folder. The defaults train in minutes on two cores.
struct LanguageModelConfig {
  ModelKind kind = ModelKind::kAttention;  // kAttention or kLstm
  int64_t vocab_size = 0;                  // V, the tokenizer's
  int64_t layers = 4;                      // of the stack
  int64_t width = 128;                     // C, of a token's row
  int64_t heads = 4;                       // attention: divides the width
  int64_t feed_forward = 512;              // attention: the hidden width, usually 4·width
  int64_t context = 256;                   // tokens that a prediction may look back on
  float dropout =
      0.0F;           // of embeddings, attention weights and branches (LSTM: between layers), while training
  bool bias = false;  // in linear layers; without is a little faster and no worse (nanoGPT)

  // One line of JSON, Hugging Face's names where it has them.
  std::string to_json() const;
  // The way back. DataError named by `where` for what is no such configuration, or sizes outside [1, 2^31).
  static LanguageModelConfig parse(std::string_view json, std::string_view where);
};

// Parameters "embedding.…" and "transformer.…" or "lstm.…". Forward passes may run side by side.
class LanguageModel final : public nn::Module {
 public:
  // Parameters drawn from `seed`, N(0, 0.02²) and smaller where a branch ends (GPT-2). ArgumentError for
  // sizes below one, heads that do not divide the width, or another kind.
  LanguageModel(const LanguageModelConfig& config, uint64_t seed);

  // As it was made.
  const LanguageModelConfig& config() const { return config_; }
  void visit(nn::ModuleVisitor& visitor) override;

  // Mean −ln P(targets[t] | ids up to t) over the packed tokens; ids and targets [T] int32. No sequence may
  // be longer than the context. Logits [T, V] are never held.
  autograd::Var loss(const Tensor& ids, const Tensor& targets, const Offsets& offsets,
                     nn::Context& context) const;

  // Hidden states [T, width], for looking inside; logits() makes of them what is predicted.
  autograd::Var hidden(const Tensor& ids, const Offsets& offsets, nn::Context& context) const {
    return hidden_of(embed(ids, offsets, context), offsets, context);
  }
  // hidden() in two halves: the embeddings [T, width], whose gradients explanations ask for, and the rest.
  autograd::Var embed(const Tensor& ids, const Offsets& offsets, nn::Context& context) const;
  autograd::Var hidden_of(const autograd::Var& x, const Offsets& offsets, nn::Context& context) const;

  // [T, width] -> [T, V]: unnormalised log-probabilities, natural, of the token behind each.
  autograd::Var logits(const autograd::Var& hidden) const;

  // What generation keeps between tokens.
  struct State {
    nn::TransformerCache cache{1};                    // attention
    std::vector<autograd::RecurrentState> recurrent;  // LSTM, one a layer
    int64_t length = 0;                               // tokens seen
  };
  // Appends tokens to the state and gives the logits [V] after the last. ArgumentError for none, or
  // (attention) more than the context in all.
  Tensor next(std::span<const int32_t> ids, State& state) const;

 private:
  LanguageModelConfig config_;
  nn::TokenEmbedding embedding_;
  nn::Transformer transformer_;
  nn::RecurrentStack recurrent_;
};

}  // namespace fovea::models
