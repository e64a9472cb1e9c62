// Multi-head attention over packed sequences (Vaswani et al. 2017), with every option of the attention call:
// grouped key heads, causal, window, score, soft cap, ALiBi, T5's relative bias, rotary positions, sinks,
// dropout, normalised queries and keys.
//
// Self-attention has one projection for queries, keys and values: "qkv.weight" [(H + Hkv)·D + Hkv·Dv, width],
// rows q | k | v, heads in order. Cross-attention has "query.weight" [H·D, width] and "memory.weight" [Hkv·(D
// + Dv), memory width], rows k | v. Both end in "output.weight" [width, H·Dv]. Further parameters, where
// wanted: "relative.weight" [buckets, H], "sinks" [H], "query_norm.weight" and "key_norm.weight" [D].
#pragma once

#include <optional>

#include "fovea/attention/rotary.hpp"
#include "fovea/attention/spec.hpp"
#include "fovea/nn/context.hpp"
#include "fovea/nn/key_value_cache.hpp"
#include "fovea/nn/linear.hpp"
#include "fovea/nn/norm.hpp"

namespace fovea::nn {

// The trainable bias by distance of a layer, as T5 has it (RelativeBias of attention/inputs.hpp, kBuckets).
// It begins at 0.
struct RelativeOptions {
  int64_t buckets = 32;        // T5's, …
  int64_t max_distance = 128;  // … as is this: from here on distances share a bucket
};

// Of one layer. By default plain self-attention, every token to every other.
struct MultiHeadAttentionOptions {
  int64_t width = 0;         // of the tokens that ask, and of the output
  int64_t heads = 1;         // H
  int64_t key_heads = 0;     // Hkv, divides heads (grouped queries; Ainslie et al. 2023); 0: heads
  int64_t head_width = 0;    // D; 0: width / heads
  int64_t value_width = 0;   // Dv; 0: D
  int64_t memory_width = 0;  // cross-attention: the width of the tokens attended to; 0: self-attention
  bool bias = true;          // of all projections
  AttentionSpec spec{};  // score, scale, causal, window, soft cap; its dropout and key are set by the layer
  float dropout = 0.0F;  // of attention weights, while training
  std::optional<RotarySpec> rotary{};  // self-attention only
  bool alibi = false;  // fixed slopes, alibi_slopes(heads) of positions.hpp; not with `relative`
  std::optional<RelativeOptions> relative{};  // both sides of the query, or before it only if spec.causal
  bool sinks = false;                         // one trainable logit a head in the denominator
  std::optional<NormKind>
      query_key_norm{};  // each head's q and k normalised before the score (Henry et al. 2020)
  Initialization initialization = Initialization::kXavierUniform;  // of all projections; biases begin at 0
  double output_gain = 1.0;  // of the initial output projection, see LinearOptions
};

// Heads that attend, between a projection in and a projection out. The options decide whether it is a
// self-attention or a cross-attention; the forward of the other form throws ArgumentError.
class MultiHeadAttention final : public Module {
 public:
  MultiHeadAttention() = default;
  // ArgumentError for widths that do not divide, or options that exclude each other.
  MultiHeadAttention(const MultiHeadAttentionOptions& options, Random& random);
  void visit(ModuleVisitor& visitor) override;

  // Self-attention: x [T, width] -> [T, width]. With a cache, x are the next tokens of each of its sequences
  // (whose count the offsets must have), and they attend to all before; nothing is recorded on a tape, and no
  // sink is told.
  autograd::Var forward(Context& context, const autograd::Var& x, const Offsets& offsets,
                        KeyValueCache* cache = nullptr) const;

  // Cross-attention: x [Tq, width] asks memory [Tk, memory width] -> [Tq, width]. `projected`, when not null,
  // keeps the memory's keys and values from the first call to the next.
  autograd::Var forward(Context& context, const autograd::Var& x, const Offsets& offsets,
                        const autograd::RaggedVar& memory, autograd::Var* projected = nullptr) const;

  // As it was made, with every 0 that stands for "as the others" replaced.
  const MultiHeadAttentionOptions& options() const { return options_; }
  // T5 shares one table between the layers of a stack.
  void share_relative(const MultiHeadAttention& other) { relative_ = other.relative_; }

  Linear qkv, query, memory, output;  // see above; those of the other form are empty

 private:
  autograd::AttentionOptions call_options(Context& context) const;
  DType projection_dtype() const;
  autograd::Var attend(Context& context, autograd::Var q, autograd::Var k, autograd::Var v,
                       const Offsets& q_offsets, const Offsets& k_offsets) const;
  autograd::Var incremental(const autograd::Var& x, const Offsets& offsets, KeyValueCache& cache) const;

  MultiHeadAttentionOptions options_;
  autograd::Var relative_, slopes_, sinks_;
  Norm query_norm_, key_norm_;
};

}  // namespace fovea::nn
