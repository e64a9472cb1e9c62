#include "fovea/nn/transformer.hpp"

#include <cmath>

#include "base/check.hpp"

namespace fovea::nn {

using autograd::RaggedVar;
using autograd::Var;

TransformerBlock::TransformerBlock(const TransformerOptions& o, int64_t layer, Random& random)
    : layer_(static_cast<size_t>(layer)), cross_(o.memory_width > 0), order_(o.order) {
  const double branches = static_cast<double>(o.layers * (cross_ ? 3 : 2));
  const double gain = o.scaled_residuals ? 1.0 / std::sqrt(branches) : 1.0;
  MultiHeadAttentionOptions attend{.width = o.width,
                                   .heads = o.heads,
                                   .key_heads = o.key_heads,
                                   .head_width = o.head_width,
                                   .value_width = o.value_width,
                                   .bias = o.bias,
                                   .spec = o.spec,
                                   .dropout = o.attention_dropout,
                                   .sinks = o.sinks,
                                   .query_key_norm = o.query_key_norm,
                                   .initialization = o.initialization,
                                   .output_gain = gain};
  attend.spec.causal = o.causal;
  if (o.positions == Positions::kRotary) attend.rotary = o.rotary;
  if (o.positions == Positions::kRelative) attend.relative = o.relative;
  attend.alibi = o.positions == Positions::kAlibi;
  attention = MultiHeadAttention(attend, random);
  const NormOptions norm{.kind = o.norm, .epsilon = o.norm_epsilon, .bias = o.bias};
  attention_norm = Norm(o.width, norm);
  if (cross_) {
    attend.memory_width = o.memory_width;
    attend.spec = AttentionSpec{.score = o.spec.score, .scale = o.spec.scale, .softcap = o.spec.softcap};
    attend.rotary.reset();
    attend.relative.reset();
    attend.alibi = false;
    cross_attention = MultiHeadAttention(attend, random);
    cross_norm = Norm(o.width, norm);
  }
  feed_forward = FeedForward({.width = o.width,
                              .hidden = o.feed_forward_width,
                              .kind = o.feed_forward,
                              .bias = o.bias,
                              .dropout = o.feed_forward_dropout,
                              .initialization = o.initialization,
                              .output_gain = gain},
                             random);
  feed_forward_norm = Norm(o.width, norm);
  residual_.dropout = o.residual_dropout;
  residual_.stochastic_depth =
      o.stochastic_depth * static_cast<float>(layer + 1) / static_cast<float>(std::max<int64_t>(o.layers, 1));
}

void TransformerBlock::visit(ModuleVisitor& visitor) {
  visitor.child("attention", attention);
  visitor.child("attention_norm", attention_norm);
  if (cross_) {
    visitor.child("cross_attention", cross_attention);
    visitor.child("cross_norm", cross_norm);
  }
  visitor.child("feed_forward", feed_forward);
  visitor.child("feed_forward_norm", feed_forward_norm);
}

void TransformerBlock::forward(Context& context, ResidualStream& stream, const Offsets& offsets,
                               const RaggedVar* memory, TransformerCache* cache) const {
  const auto branch = [&](const char* name, const Norm& norm, auto&& layer) {
    const LayerScope scope(context, name);
    if (order_ == NormOrder::kPre) {
      stream.add(context, layer(stream.normalised(norm)), offsets, residual_);
    } else {
      stream.add(context, layer(stream.value()), offsets, residual_);
      stream.normalise(norm);
    }
  };
  branch("attention", attention_norm, [&](const Var& x) {
    return attention.forward(context, x, offsets, cache == nullptr ? nullptr : &cache->layers[layer_]);
  });
  if (cross_) {
    branch("cross_attention", cross_norm, [&](const Var& x) {
      return cross_attention.forward(context, x, offsets, *memory,
                                     cache == nullptr ? nullptr : &cache->memory_keys[layer_]);
    });
  }
  branch("feed_forward", feed_forward_norm, [&](const Var& x) { return feed_forward.forward(context, x); });
}

Transformer::Transformer(const TransformerOptions& options, Random& random) : options_(options) {
  check_argument(options.layers >= 0, "transformer", "expected layers >= 0, got {}", options.layers);
  layers.reserve(static_cast<size_t>(options.layers));
  for (int64_t i = 0; i < options.layers; ++i) {
    layers.emplace_back(options, i, random);
    if (options.positions == Positions::kRelative)
      layers.back().attention.share_relative(layers.front().attention);
  }
  if (options.order == NormOrder::kPre) {
    norm = Norm(options.width, {.kind = options.norm, .epsilon = options.norm_epsilon, .bias = options.bias});
  }
}

void Transformer::visit(ModuleVisitor& visitor) {
  for (size_t i = 0; i < layers.size(); ++i) visitor.child("layers", i, layers[i]);
  if (options_.order == NormOrder::kPre) visitor.child("norm", norm);
}

Var Transformer::forward(Context& context, const Var& x, const Offsets& offsets, const RaggedVar* memory,
                         TransformerCache* cache) const {
  check_argument((memory != nullptr) == (options_.memory_width > 0), "transformer",
                 "expected a memory for a decoder with cross-attention and only there, got {}",
                 memory != nullptr ? "one" : "none");
  if (cache != nullptr) {
    check_argument(options_.causal, "transformer", "expected a causal stack for a cache: others look ahead");
    check_argument(offsets.count() == cache->sequences, "transformer",
                   "expected new tokens for the {} sequences of the cache, got {} sequences",
                   cache->sequences, offsets.count());
    while (cache->layers.size() < layers.size()) cache->layers.emplace_back(cache->sequences);
    if (memory != nullptr) cache->memory_keys.resize(layers.size());
  }
  ResidualStream stream(x);
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerScope scope(context, "layers", static_cast<int64_t>(i));
    layers[i].forward(context, stream, offsets, memory, cache);
  }
  return options_.order == NormOrder::kPre ? stream.normalised(norm) : stream.value();
}

EncoderDecoder::EncoderDecoder(const TransformerOptions& encoder_options, TransformerOptions decoder_options,
                               Random& random)
    : encoder(encoder_options, random) {
  decoder_options.causal = true;
  decoder_options.memory_width = encoder_options.width;
  decoder = Transformer(decoder_options, random);
}

void EncoderDecoder::visit(ModuleVisitor& visitor) {
  visitor.child("encoder", encoder);
  visitor.child("decoder", decoder);
}

RaggedVar EncoderDecoder::encode(Context& context, const Var& source, const Offsets& offsets) const {
  const LayerScope scope(context, "encoder");
  return {encoder.forward(context, source, offsets), offsets};
}

Var EncoderDecoder::decode(Context& context, const Var& target, const Offsets& offsets,
                           const RaggedVar& memory, TransformerCache* cache) const {
  const LayerScope scope(context, "decoder");
  return decoder.forward(context, target, offsets, &memory, cache);
}

}  // namespace fovea::nn
