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

// Where a branch f is normalised.
enum class NormOrder {
  kPre,   // x + f(norm(x)), and a last norm at the end: trains without warm-up
  kPost,  // norm(x + f(x)): the paper's, BERT's
};

// Of a stack; its parts say what they throw. By default a pre-norm encoder without positions.
struct TransformerOptions {
  int64_t width = 128;             // C, of the tokens
  int64_t layers = 2;              // 0: the tokens pass, normalised if pre-norm
  int64_t heads = 4;               // H, of every layer
  int64_t key_heads = 0;           // 0: heads
  int64_t head_width = 0;          // 0: width / heads
  int64_t value_width = 0;         // 0: head_width
  int64_t feed_forward_width = 0;  // 0: see FeedForwardOptions
  int64_t memory_width = 0;        // > 0: a decoder, with cross-attention to tokens of this width
  bool causal = false;             // tokens see none after them
  bool bias = true;                // of all projections and, where they have one, norms
  FeedForwardKind feed_forward = FeedForwardKind::kGelu;  // of every layer
  NormKind norm = NormKind::kLayer;                       // of every norm but those of queries and keys
  NormOrder order = NormOrder::kPre;                      // needs no warm-up
  float norm_epsilon = 1e-5F;                             // PyTorch's
  // Rotary, ALiBi and relative positions act in every layer's self-attention; learned and sinusoidal ones
  // belong to the TokenEmbedding.
  Positions positions = Positions::kNone;
  RotarySpec rotary{};                       // read with kRotary
  RelativeOptions relative{};                // read with kRelative: one table for all layers, as in T5
  AttentionSpec spec{};                      // score, scale, window, soft cap of self-attention
  bool sinks = false;                        // as MultiHeadAttentionOptions', …
  std::optional<NormKind> query_key_norm{};  // … and so is this, of cross-attention too
  float attention_dropout = 0.0F;            // of attention weights; dropouts act while training only
  float residual_dropout = 0.0F;             // of what each branch adds
  float feed_forward_dropout = 0.0F;         // of the hidden values
  float stochastic_depth = 0.0F;  // of the last layer; earlier ones less, linearly from 0 (Huang et al. 2016)
  Initialization initialization = Initialization::kXavierUniform;  // of all projections
  // What ends on the residual stream begins smaller by 1/√(number of branches), so that the sum keeps its
  // size (GPT-2).
  bool scaled_residuals = false;
};

// One layer: attention, in decoders cross-attention, and feed-forward, each a branch of the residual stream.
class TransformerBlock final : public Module {
 public:
  TransformerBlock() = default;
  // The layer-th of options.layers.
  TransformerBlock(const TransformerOptions& options, int64_t layer, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // Adds the block's branches to the stream [T, width]. `memory` is asked by cross-attention, and must be
  // there with it; of a cache, the layers must have been made (Transformer::forward does).
  void forward(Context& context, ResidualStream& stream, const Offsets& offsets,
               const autograd::RaggedVar* memory = nullptr, TransformerCache* cache = nullptr) const;

  MultiHeadAttention attention;        // of the tokens among themselves
  MultiHeadAttention cross_attention;  // decoders only
  FeedForward feed_forward;            // the last branch
  // Before the branch of that name, or behind it, as NormOrder says; cross_norm in decoders only.
  Norm attention_norm, cross_norm, feed_forward_norm;

 private:
  size_t layer_ = 0;
  bool cross_ = false;
  NormOrder order_ = NormOrder::kPre;
  ResidualOptions residual_;
};

// Blocks upon one another.
class Transformer final : public Module {
 public:
  Transformer() = default;
  // Draws the layers in order, so that a seed gives the same weights everywhere. ArgumentError for layers <
  // 0.
  Transformer(const TransformerOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // x [T, width] -> [T, width]. `memory` for decoders, and for them alone. With a cache (causal stacks), x
  // are the next tokens of its sequences; the result equals the last rows of a forward pass over all of them.
  // ArgumentError for a cache with a stack that is not causal, or of another number of sequences.
  autograd::Var forward(Context& context, const autograd::Var& x, const Offsets& offsets,
                        const autograd::RaggedVar* memory = nullptr, TransformerCache* cache = nullptr) const;

  // As it was made.
  const TransformerOptions& options() const { return options_; }

  std::vector<TransformerBlock> layers;  // the first one reads x
  Norm norm;                             // pre-norm only

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

  // source [T, width] -> the memory that decode() asks: once a sequence, however many tokens are then
  // generated.
  autograd::RaggedVar encode(Context& context, const autograd::Var& source, const Offsets& offsets) const;
  // target [T', width] -> [T', width]: token t has seen the target up to itself and all of its memory. With a
  // cache as Transformer::forward.
  autograd::Var decode(Context& context, const autograd::Var& target, const Offsets& offsets,
                       const autograd::RaggedVar& memory, TransformerCache* cache = nullptr) const;

  // The two stacks, of options of their own.
  Transformer encoder, decoder;
};

}  // namespace fovea::nn
