// Transformer stacks over packed sequences (Vaswani et al. 2017): encoder and decoder blocks, in the pre-norm
// (Xiong et al. 2020) and the post-norm order, and the encoder–decoder.
//
//   encoder:   Transformer({.width = 128, .layers = 2, .heads = 4}, random)
//   GPT:       … .causal = true
//   decoder:   … .causal = true, .memory_width = 128, with forward(…, &memory)
//
// Names: "layers.0.attention.qkv.weight", "layers.0.attention_norm.weight",
// "layers.0.cross_attention.query.weight", "layers.0.cross_norm.weight", "layers.0.feed_forward.up.weight",
// "layers.0.feed_forward_norm.weight", "norm.weight".
#pragma once

#include <vector>

#include "fovea/nn/attention.hpp"
#include "fovea/nn/feed_forward.hpp"
#include "fovea/nn/norm.hpp"
#include "fovea/nn/positions.hpp"
#include "fovea/nn/residual.hpp"

namespace fovea::nn {

enum class NormOrder {
  kPre,   // x + f(norm(x)), and a last norm at the end: trains without warm-up
  kPost,  // norm(x + f(x)): the paper's, BERT's
};

struct TransformerOptions {
  int64_t width = 128;
  int64_t layers = 2;
  int64_t heads = 4;
  int64_t key_heads = 0;           // 0: heads
  int64_t head_width = 0;          // 0: width / heads
  int64_t value_width = 0;         // 0: head_width
  int64_t feed_forward_width = 0;  // 0: see FeedForwardOptions
  int64_t memory_width = 0;        // > 0: a decoder, with cross-attention to tokens of this width
  bool causal = false;
  bool bias = true;
  FeedForwardKind feed_forward = FeedForwardKind::kGelu;
  NormKind norm = NormKind::kLayer;
  NormOrder order = NormOrder::kPre;
  float norm_epsilon = 1e-5F;
  // Rotary, ALiBi and relative positions act in every layer's self-attention; learned and sinusoidal ones
  // belong to the TokenEmbedding.
  Positions positions = Positions::kNone;
  RotarySpec rotary{};
  RelativeOptions relative{};  // one table for all layers, as in T5
  AttentionSpec spec{};        // score, scale, window, soft cap of self-attention
  bool sinks = false;
  std::optional<NormKind> query_key_norm{};
  float attention_dropout = 0.0F;
  float residual_dropout = 0.0F;      // of what each branch adds
  float feed_forward_dropout = 0.0F;  // of the hidden values
  float stochastic_depth = 0.0F;  // of the last layer; earlier ones less, linearly from 0 (Huang et al. 2016)
  Initialization initialization = Initialization::kXavierUniform;
  // What ends on the residual stream begins smaller by 1/√(number of branches), so that the sum keeps its
  // size (GPT-2).
  bool scaled_residuals = false;
};

class TransformerBlock final : public Module {
 public:
  TransformerBlock() = default;
  // The layer-th of options.layers.
  TransformerBlock(const TransformerOptions& options, int64_t layer, Random& random);
  void visit(ModuleVisitor& visitor) override;

  void forward(Context& context, ResidualStream& stream, const Offsets& offsets,
               const autograd::RaggedVar* memory = nullptr, TransformerCache* cache = nullptr) const;

  MultiHeadAttention attention;
  MultiHeadAttention cross_attention;  // decoders only
  FeedForward feed_forward;
  Norm attention_norm, cross_norm, feed_forward_norm;

 private:
  size_t layer_ = 0;
  bool cross_ = false;
  NormOrder order_ = NormOrder::kPre;
  ResidualOptions residual_;
};

class Transformer final : public Module {
 public:
  Transformer() = default;
  Transformer(const TransformerOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // x [T, width] -> [T, width]. `memory` for decoders. With a cache (causal stacks), x are the next tokens of
  // its sequences; the result equals the last rows of a forward pass over all of them.
  autograd::Var forward(Context& context, const autograd::Var& x, const Offsets& offsets,
                        const autograd::RaggedVar* memory = nullptr, TransformerCache* cache = nullptr) const;

  const TransformerOptions& options() const { return options_; }

  std::vector<TransformerBlock> layers;
  Norm norm;  // pre-norm only

 private:
  TransformerOptions options_;
};

// An encoder and a decoder that reads it: "encoder.layers.0…", "decoder.layers.0…".
class EncoderDecoder final : public Module {
 public:
  EncoderDecoder() = default;
  // The decoder is made causal, with the encoder's width as its memory.
  EncoderDecoder(const TransformerOptions& encoder_options, TransformerOptions decoder_options,
                 Random& random);
  void visit(ModuleVisitor& visitor) override;

  autograd::RaggedVar encode(Context& context, const autograd::Var& source, const Offsets& offsets) const;
  autograd::Var decode(Context& context, const autograd::Var& target, const Offsets& offsets,
                       const autograd::RaggedVar& memory, TransformerCache* cache = nullptr) const;

  Transformer encoder, decoder;
};

}  // namespace fovea::nn
