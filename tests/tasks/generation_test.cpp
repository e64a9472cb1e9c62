#include "fovea/tasks/generation.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "fovea/base/error.hpp"

namespace fovea::tasks {
namespace {

TEST(Sample, GreedyTakesTheLowerOfEquals) {
  EXPECT_EQ(sample(std::array{1.0F, 3.0F, 3.0F}, {.temperature = 0}, 0.99), 1);
}

TEST(Sample, FollowsTheProbabilities) {
  // p = 1/4, 1/2, 1/4; sorted by probability, then id: 1 [0, .5), 0 [.5, .75), 2 [.75, 1).
  const std::array logits = {0.0F, 0.693147181F, 0.0F};
  EXPECT_EQ(sample(logits, {}, 0.49), 1);
  EXPECT_EQ(sample(logits, {}, 0.51), 0);
  EXPECT_EQ(sample(logits, {}, 0.76), 2);
  EXPECT_EQ(sample(logits, {.top_k = 1}, 0.99), 1);
  EXPECT_EQ(sample(logits, {.top_k = 2}, 0.99), 0);
  EXPECT_EQ(sample(logits, {.top_p = 0.4}, 0.99), 1);
  EXPECT_EQ(sample(logits, {.top_p = 0.6}, 0.99), 0);
  EXPECT_EQ(sample(logits, {.temperature = 1e-3}, 0.99), 1);
}

TEST(Sample, RefusesWhatMeansNothing) {
  const std::array logits = {0.0F};
  EXPECT_THROW(sample(logits, {.temperature = -1}, 0.5), ArgumentError);
  EXPECT_THROW(sample(logits, {.top_k = -1}, 0.5), ArgumentError);
  EXPECT_THROW(sample(logits, {.top_p = 0}, 0.5), ArgumentError);
  EXPECT_THROW(sample({}, {}, 0.5), ArgumentError);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_THROW(sample(std::array{0.0F, std::nanf("")}, {}, 0.5), ArgumentError);
  EXPECT_THROW(sample(std::array{0.0F, kInfinity}, {}, 0.5), ArgumentError);
  EXPECT_THROW(sample(std::array{-kInfinity}, {}, 0.5), ArgumentError);
}

TEST(Sample, NeverTakesWhatHasNoProbability) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  const std::array logits = {kNever, 1.0F, kNever, 0.0F, kNever};
  for (const double temperature : {0.0, 1e-300, 1e-3, 1.0, 1e300, std::numeric_limits<double>::infinity()}) {
    for (const double u : {0.0, 0.5, 1.0 - 0x1p-53}) {
      for (const int64_t top_k : {0, 1, 4}) {
        const int32_t id = sample(logits, {.temperature = temperature, .top_k = top_k}, u);
        EXPECT_TRUE(id == 1 || id == 3) << id << " at temperature " << temperature;
      }
    }
  }
}

TextGenerator generator(models::ModelKind kind, int64_t context) {
  TextGenerator g;
  const std::string_view text = "to be or not to be, that is the question";
  g.tokenizer = formats::train_tokenizer(
      std::span<const std::string_view>(&text, 1),
      {.kind = formats::TokenizerKind::kCharacters, .vocab_size = 0, .special_tokens = false});
  models::LanguageModelConfig config;
  config.kind = kind;
  config.vocab_size = g.tokenizer->vocab_size();
  config.layers = 2;
  config.width = 16;
  config.heads = 2;
  config.feed_forward = 32;
  config.context = context;
  g.network = std::make_shared<models::LanguageModel>(config, 5);
  return g;
}

TEST(Generate, WithACacheAsWithout) {
  for (const auto kind : {models::ModelKind::kAttention, models::ModelKind::kLstm}) {
    for (const int64_t context : {1, 7, 64}) {
      const auto g = generator(kind, context);
      for (const uint64_t seed : {1, 2, 3}) {
        GenerateOptions options{.max_tokens = 40, .seed = seed};
        const auto cached = g.generate("to be or", options);
        options.caching = Caching::kRecompute;
        EXPECT_EQ(cached, g.generate("to be or", options)) << "context " << context << " seed " << seed;
        EXPECT_EQ(cached.size(), 40u);
      }
    }
  }
}

TEST(Generate, TheSameSeedGivesTheSameText) {
  const auto g = generator(models::ModelKind::kAttention, 16);
  EXPECT_EQ(g.generate("to", {.seed = 4}), g.generate("to", {.seed = 4}));
  EXPECT_NE(g.generate("to", {.seed = 4}), g.generate("to", {.seed = 5}));
  EXPECT_EQ(g.generate("", {.max_tokens = 0}), "");
}

TEST(Generate, StopsWhenTheCallerSaysSo) {
  const auto g = generator(models::ModelKind::kAttention, 16);
  const auto text =
      g.generate("to", {.max_tokens = 30}, [](std::string_view so_far) { return so_far.size() < 5; });
  EXPECT_EQ(text.size(), 5u);
}

}  // namespace
}  // namespace fovea::tasks
