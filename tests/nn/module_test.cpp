#include "fovea/nn/module.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/nn/linear.hpp"
#include "fovea/nn/recurrent.hpp"
#include "fovea/nn/transformer.hpp"

namespace fovea::nn {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> names(Module& module) {
  std::vector<std::string> all;
  for (const Parameter& p : module.parameters()) all.push_back(p.name);
  return all;
}

TransformerOptions small() {
  return {.width = 8, .layers = 1, .heads = 2};
}

TEST(Module, NamesAreStable) {
  Random random(1);
  Transformer encoder(small(), random);
  EXPECT_THAT(names(encoder),
              ElementsAre("layers.0.attention.qkv.weight", "layers.0.attention.qkv.bias",
                          "layers.0.attention.output.weight", "layers.0.attention.output.bias",
                          "layers.0.attention_norm.weight", "layers.0.attention_norm.bias",
                          "layers.0.feed_forward.up.weight", "layers.0.feed_forward.up.bias",
                          "layers.0.feed_forward.down.weight", "layers.0.feed_forward.down.bias",
                          "layers.0.feed_forward_norm.weight", "layers.0.feed_forward_norm.bias",
                          "norm.weight", "norm.bias"));
  TransformerOptions o = small();
  o.memory_width = 6;
  o.bias = false;
  o.causal = true;
  o.positions = Positions::kRelative;
  o.sinks = true;
  o.query_key_norm = NormKind::kRms;
  o.order = NormOrder::kPost;
  Transformer decoder(o, random);
  EXPECT_THAT(names(decoder),
              ElementsAre("layers.0.attention.qkv.weight", "layers.0.attention.output.weight",
                          "layers.0.attention.relative.weight", "layers.0.attention.sinks",
                          "layers.0.attention.query_norm.weight", "layers.0.attention.key_norm.weight",
                          "layers.0.attention_norm.weight", "layers.0.cross_attention.query.weight",
                          "layers.0.cross_attention.memory.weight", "layers.0.cross_attention.output.weight",
                          "layers.0.cross_attention.sinks", "layers.0.cross_attention.query_norm.weight",
                          "layers.0.cross_attention.key_norm.weight", "layers.0.cross_norm.weight",
                          "layers.0.feed_forward.up.weight", "layers.0.feed_forward.down.weight",
                          "layers.0.feed_forward_norm.weight"));
  RecurrentStack gru({.kind = RecurrentKind::kGru, .in = 2, .hidden = 3, .bidirectional = true}, random);
  EXPECT_THAT(names(gru), ElementsAre("layers.0.forward.input_weight", "layers.0.forward.recurrent_weight",
                                      "layers.0.forward.bias", "layers.0.forward.recurrent_bias",
                                      "layers.0.backward.input_weight", "layers.0.backward.recurrent_weight",
                                      "layers.0.backward.bias", "layers.0.backward.recurrent_bias"));
}

TEST(Module, OnlyMatricesDecay) {
  Random random(1);
  Transformer encoder(small(), random);
  for (const Parameter& p : encoder.parameters()) {
    EXPECT_EQ(p.decay == Decay::kYes, p.var.shape().rank() == 2) << p.name;
  }
  TokenEmbedding embedding({.vocabulary = 5, .width = 4, .max_length = 3}, random);
  for (const Parameter& p : embedding.parameters()) EXPECT_EQ(p.decay, Decay::kNo) << p.name;
  EXPECT_THAT(names(embedding), ElementsAre("tokens.weight", "positions.weight"));
}

TEST(Module, CountsEachElementOnce) {
  Random random(1);
  Linear linear(3, 5, random);
  EXPECT_EQ(linear.parameter_count(), 20);
  TransformerOptions o = small();
  o.layers = 3;
  o.positions = Positions::kRelative;  // one table for all layers
  Transformer stack(o, random);
  EXPECT_EQ(stack.parameter_count(), 3 * (12 * 64 + 13 * 8) + 16 + 32 * 2);
}

class Tied final : public Module {
 public:
  explicit Tied(Random& random) : first(2, 3, random), second(2, 3, random) { second.weight = first.weight; }
  void visit(ModuleVisitor& visitor) override {
    visitor.child("first", first);
    visitor.child("second", second);
  }
  Linear first, second;
};

TEST(Module, LoadsWhatItSaved) {
  Random random(1);
  Tied a(random);
  Tied b(random);
  EXPECT_THAT(names(a), ElementsAre("first.weight", "first.bias", "second.bias"));
  b.load_state(a.state());
  EXPECT_EQ(b.second.weight.value().data()[4], a.first.weight.value().data()[4]);
  EXPECT_NE(b.second.weight.value().data(), a.first.weight.value().data());

  std::vector<NamedTensor> state = a.state();
  state[0].name = "second.weight";  // a tied one under its other name
  b.load_state(state);

  const auto message = [&](std::vector<NamedTensor> tensors) -> std::string {
    try {
      b.load_state(tensors);
    } catch (const ArgumentError& e) {
      return e.what();
    }
    return "";
  };
  state = a.state();
  state.push_back({"third.weight", Tensor::zeros({1})});
  EXPECT_EQ(message(state), "[load_state] expected only this module's parameters, got third.weight");
  state.pop_back();
  state.pop_back();
  EXPECT_EQ(message(state), "[load_state] expected a tensor second.bias, got none");
  state = a.state();
  state[1].tensor = Tensor::zeros({4});
  EXPECT_EQ(message(state), "[load_state] expected first.bias of shape [3] (float32), got [4] (float32)");
}

TEST(Context, KeysDependOnSeedAndPassOnly) {
  Context a = Context::training(3, 7);
  Context b = Context::training(3, 7);
  const RandomKey first = a.next_key();
  EXPECT_EQ(first.stream, b.next_key().stream);
  EXPECT_NE(a.next_key().stream, first.stream);
  EXPECT_NE(Context::training(3, 8).next_key().stream, first.stream);
  EXPECT_EQ(a.rate(0.5F), 0.5F);
  EXPECT_EQ(Context().rate(0.5F), 0.0F);
}

TEST(Context, NamesTheLayerThatRuns) {
  Context context;
  const LayerScope outer(context, "layers", 3);
  {
    const LayerScope inner(context, "attention");
    EXPECT_EQ(context.path(), "layers.3.attention");
  }
  EXPECT_EQ(context.path(), "layers.3");
}

}  // namespace
}  // namespace fovea::nn
