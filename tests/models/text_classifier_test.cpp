#include "fovea/models/text_classifier.hpp"

#include <gtest/gtest.h>

#include "fovea/base/error.hpp"

namespace fovea::models {
namespace {

TextClassifierConfig small() {
  TextClassifierConfig c;
  c.vocab_size = 11;
  c.classes = 3;
  c.layers = 1;
  c.width = 8;
  c.heads = 2;
  c.feed_forward = 16;
  c.max_tokens = 8;
  return c;
}

Shape classifier_shape(TextClassifier& model) {
  for (const auto& p : model.parameters()) {
    if (p.name == "classifier.weight") return p.var.value().shape();
  }
  return {};
}

bool has(TextClassifier& model, std::string_view name) {
  for (const auto& p : model.parameters()) {
    if (p.name == name) return true;
  }
  return false;
}

TEST(TextClassifier, PoolingsStandSideBySide) {
  TextClassifierConfig c = small();
  TextClassifier usual(c, 1);
  EXPECT_EQ(classifier_shape(usual), Shape({3, 24}));
  EXPECT_TRUE(has(usual, "pooling.query.weight"));
  c.pooling = {nn::PoolingKind::kFirst};
  TextClassifier first(c, 1);
  EXPECT_EQ(classifier_shape(first), Shape({3, 8}));
  EXPECT_FALSE(has(first, "pooling.query.weight"));
}

TEST(TextClassifier, PackedTextsArePooledAsAlone) {
  TextClassifierConfig c = small();
  c.pooling = {nn::PoolingKind::kFirst};
  const TextClassifier model(c, 1);
  nn::Context context;
  Tensor x = Tensor::empty({3, 8});
  for (int64_t i = 0; i < 24; ++i) x.data()[i] = static_cast<float>(i % 5) * 0.1f;
  const int64_t lengths[] = {2, 1};
  const Tensor both = model.classify(autograd::Var(x), Offsets::from_lengths(lengths), context).value();
  const Tensor alone =
      model.classify(autograd::Var(x.rows(2, 3).clone()), Offsets::single(1), context).value();
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_NEAR(both.data()[3 + i], alone.data()[i], 1e-5);  // products of one row and of three round apart
}

TEST(TextClassifier, ConfigurationKeepsThePoolings) {
  TextClassifierConfig c = small();
  c.pooling = {nn::PoolingKind::kAttention, nn::PoolingKind::kLast};
  const auto read = TextClassifierConfig::parse(c.to_json(), "config.json");
  EXPECT_EQ(read.pooling, c.pooling);
  std::string old = c.to_json();  // a model of before there was a choice
  const auto at = old.find("\"pooling\"");
  old.erase(at, old.find("],", at) + 2 - at);
  EXPECT_EQ(TextClassifierConfig::parse(old, "config.json").pooling, TextClassifierConfig().pooling);
}

TEST(TextClassifier, RefusesPoolingsUnknownTwiceOrNone) {
  const auto message = [](std::vector<std::string> names) {
    try {
      poolings(names);
    } catch (const ArgumentError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message({"mean", "men"}),
            "[pooling_kind] expected first, last, mean, max or attention, got \"men\"");
  EXPECT_EQ(message({"mean", "mean"}), "[poolings] expected no pooling twice, got mean again");
  EXPECT_EQ(message({}), "[poolings] expected at least one of first, last, mean, max and attention");
  EXPECT_EQ(message({"max", "last"}), "accepted");
}

}  // namespace
}  // namespace fovea::models
