#include "fovea/explain/explain_text.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "fovea/base/error.hpp"

namespace fovea::explain {
namespace {

const std::vector<std::string> kClasses{"good", "bad", "neither"};

std::unique_ptr<formats::Tokenizer> words() {
  const std::vector<std::string_view> texts{"a quiet marvel of light", "it never rushes its people",
                                            "how they argued, until dawn"};
  return formats::train_tokenizer(texts, {.kind = formats::TokenizerKind::kWords});
}

models::TextEnsemble small_model(models::ModelKind kind, const formats::Tokenizer& tokenizer) {
  models::TextClassifierConfig config;
  config.kind = kind;
  config.vocab_size = tokenizer.vocab_size();
  config.classes = 3;
  config.layers = 2;
  config.width = 32;
  config.heads = 4;
  config.feed_forward = 64;
  config.max_tokens = 16;
  return models::TextEnsemble(config, 7);
}

double probability(const models::TextEnsemble& model, const Tensor& ids, int64_t target) {
  nn::Context context;
  const autograd::Var logits = model.logits(ids, Offsets::single(ids.numel()), context);
  double sum = 0;
  for (int64_t c = 0; c < 3; ++c) sum += std::exp(static_cast<double>(logits.value().data()[c]));
  return std::exp(static_cast<double>(logits.value().data()[target])) / sum;
}

const std::string kText = "a quiet marvel, it never rushes its people until dawn";

class ExplainText : public testing::TestWithParam<models::ModelKind> {};

TEST_P(ExplainText, TellsWhatTheModelComputes) {
  const auto tokenizer = words();
  models::TextEnsemble model = small_model(GetParam(), *tokenizer);
  const PageExample e = explain_text(model, *tokenizer, kClasses, kText, {.truth = "bad"});
  EXPECT_EQ(e.truth, "bad");
  std::string joined;
  for (const PageToken& t : e.tokens) joined += t.text;
  EXPECT_EQ(joined, kText);
  double sum = 0;
  for (const PageCandidate& c : e.prediction) sum += c.probability;
  EXPECT_NEAR(sum, 1, 1e-12);

  const formats::Encoding encoding = tokenizer->encode(kText);
  const auto n = static_cast<int64_t>(encoding.ids.size());
  const Tensor ids = Tensor::from<int32_t>(encoding.ids, {n});
  const auto target = static_cast<int64_t>(std::find(kClasses.begin(), kClasses.end(), e.prediction[0].name) -
                                           kClasses.begin());
  EXPECT_NEAR(e.prediction[0].probability, probability(model, ids, target), 1e-6);

  const bool attends = GetParam() == models::ModelKind::kAttention;
  ASSERT_EQ(e.relevance.size(), attends ? 3U : 2U);
  if (attends) {
    ASSERT_EQ(e.attention.layers, 2);
    ASSERT_EQ(e.attention.heads, 4);
    std::vector<float> rows(static_cast<size_t>(n * n));
    e.attention.rows(1, 2, 0, n, rows.data());
    for (int64_t q = 0; q < n; ++q) {
      EXPECT_NEAR(std::accumulate(rows.begin() + q * n, rows.begin() + (q + 1) * n, 0.0), 1, 1e-5);
    }
    const std::vector<float>& rollout = e.relevance[0].values;
    EXPECT_NEAR(std::accumulate(rollout.begin(), rollout.end(), 0.0), 1, 1e-5);
  }

  // Scaling a token's embedding by 1 ± ε moves the logit by ±ε times its relevance.
  const std::vector<float>& gradient = e.relevance[attends ? 1 : 0].values;
  nn::Context context;
  const Tensor x = model.embed({ids, Offsets::single(n), {}, {}}, context).value();
  const auto logit = [&](const Tensor& embeddings) {
    return static_cast<double>(
        model.classify(embeddings, Offsets::single(n), context).value().data()[target]);
  };
  const double here = logit(x);
  if (GetParam() == models::ModelKind::kCnn) {
    // Windows, ReLU and maximum are homogeneous and biases start at 0, so Euler's Σ x·∂s/∂x = s holds.
    EXPECT_NEAR(std::accumulate(gradient.begin(), gradient.end(), 0.0), here, 1e-5);
  }
  // Attention is smooth: a wide ε and the mean of both sides. The maximum over the tokens (in the LSTM's and
  // the CNN's pooling) and ReLU have kinks: where another token takes a maximum over between 1 and 1 + ε, the
  // quotient of that side mixes two slopes; the other side's is the derivative. There ε is small, so that few
  // columns change hands, and the gradient must be that of one side. Logits of size 1 round to about 2^-23,
  // which is 6e-5 over 0.002 (and 6e-6 over 0.02); the third order is below 0.02² of the value.
  const float step = attends ? 0.02F : 0.002F;
  for (int64_t t = 0; t < n; ++t) {
    const auto moved = [&](float factor) {
      Tensor y = x.clone();
      for (int64_t c = 0; c < 32; ++c) y.data()[t * 32 + c] *= factor;
      return logit(y);
    };
    const double right = (moved(1 + step) - here) / static_cast<double>(step);
    const double left = (here - moved(1 - step)) / static_cast<double>(step);
    const double g = static_cast<double>(gradient[static_cast<size_t>(t)]);
    const double away =
        attends ? std::abs(g - (left + right) / 2) : std::min(std::abs(g - right), std::abs(g - left));
    EXPECT_LT(away, (attends ? 2e-5 : 6e-5) + 0.01 * std::abs(g))
        << "token " << t << ": gradient " << g << ", from the right " << right << ", from the left " << left;
  }

  // Without the word "quiet".
  const std::vector<float>& occlusion = e.relevance.back().values;
  std::vector<int32_t> kept;
  for (int64_t t = 0; t < n; ++t) {
    if (e.tokens[static_cast<size_t>(t)].word != e.tokens[1].word)
      kept.push_back(encoding.ids[static_cast<size_t>(t)]);
  }
  const Tensor without = Tensor::from<int32_t>(kept, {static_cast<int64_t>(kept.size())});
  EXPECT_NEAR(occlusion[1], e.prediction[0].probability - probability(model, without, target), 1e-6);
  for (const nn::Parameter& p : model.parameters()) EXPECT_FALSE(p.var.grad().defined()) << p.name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ExplainText,
                         testing::Values(models::ModelKind::kAttention, models::ModelKind::kLstm,
                                         models::ModelKind::kCnn),
                         [](const auto& kind) { return std::string(models::to_string(kind.param)); });

TEST(ExplainTextEdges, EmptyAndOverlongTexts) {
  const auto tokenizer = words();
  models::TextEnsemble model = small_model(models::ModelKind::kAttention, *tokenizer);
  const PageExample none = explain_text(model, *tokenizer, kClasses, "");
  EXPECT_EQ(none.prediction.size(), 3U);
  EXPECT_TRUE(none.relevance.empty());
  std::string text;
  for (int i = 0; i < 100; ++i) text += "dawn ";
  EXPECT_EQ(explain_text(model, *tokenizer, kClasses, text).tokens.size(), 16U);
  EXPECT_THROW(explain_text(model, *tokenizer, {"one"}, text), ArgumentError);
}

TEST(ExplainTextEdges, ModelWithCharacterNgramsIsReadAsItPredicts) {
  const auto tokenizer = words();
  models::TextClassifierConfig config = small_model(models::ModelKind::kAttention, *tokenizer).config();
  config.char_ngrams = 5;
  config.char_buckets = 256;
  models::TextEnsemble model(config, 3);
  const PageExample e = explain_text(model, *tokenizer, kClasses, kText);
  const formats::Encoding encoding = tokenizer->encode(kText);
  const models::EncodedText read = models::network_input(kText, encoding, config);
  const models::EncodedText* const one[] = {&read};
  nn::Context context;
  const Tensor logits = model.logits(models::make_batch(one), context).value();
  double sum = 0, largest = 0;
  for (const float x : logits.span()) {
    sum += std::exp(static_cast<double>(x));
    largest = std::max(largest, std::exp(static_cast<double>(x)));
  }
  EXPECT_NEAR(e.prediction[0].probability, largest / sum, 1e-6);
  EXPECT_EQ(e.relevance.size(), 3U);
}

TEST(ExplainTextEdges, MembersAreShownApartAndExplainedTogether) {
  const auto tokenizer = words();
  models::TextClassifierConfig config = small_model(models::ModelKind::kAttention, *tokenizer).config();
  config.members = 2;
  models::TextEnsemble model(config, 3);
  const PageExample e = explain_text(model, *tokenizer, kClasses, kText);
  EXPECT_EQ(e.attention.members, 2);
  EXPECT_EQ(e.attention.layers, 2 * config.layers);
  ASSERT_EQ(e.relevance.size(), 3U);
  double reached = 0;  // rollout shares out one unit for each member, and the mean is one
  for (const float x : e.relevance[0].values) reached += static_cast<double>(x);
  EXPECT_NEAR(reached, 1, 1e-5);
  // Gradient × input: the sum over the tokens is the change of the score for a small scaling of the
  // embeddings.
  const formats::Encoding encoding = tokenizer->encode(kText);
  const models::EncodedText read = models::network_input(kText, encoding, config);
  const models::EncodedText* const one[] = {&read};
  const models::TextBatch batch = models::make_batch(one);
  nn::Context context;
  Tensor x = model.embed(batch, context).value();
  const auto score = [&](float factor) {
    Tensor scaled = x.clone();
    for (float& v : scaled.span()) v *= factor;
    const auto logits = model.classify(scaled, batch.offsets, context).value();
    const auto best = std::max_element(logits.span().begin(), logits.span().end()) - logits.span().begin();
    return static_cast<double>(logits.data()[best]);
  };
  double sum = 0;
  for (const float v : e.relevance[1].values) sum += static_cast<double>(v);
  EXPECT_NEAR(sum, (score(1.005F) - score(0.995F)) / 0.01, 2e-2 * std::abs(sum) + 1e-3);
}

}  // namespace
}  // namespace fovea::explain
