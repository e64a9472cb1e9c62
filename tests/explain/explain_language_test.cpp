#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "fovea/explain/explain_text.hpp"

namespace fovea::explain {
namespace {

const std::string kText = "to be or not to be";

std::unique_ptr<formats::Tokenizer> characters() {
  const std::vector<std::string_view> texts{kText, "that is the question\n"};
  return formats::train_tokenizer(texts, {.kind = formats::TokenizerKind::kCharacters});
}

models::LanguageModel small_model(models::ModelKind kind, const formats::Tokenizer& tokenizer) {
  models::LanguageModelConfig config;
  config.kind = kind;
  config.vocab_size = tokenizer.vocab_size();
  config.layers = 2;
  config.width = 32;
  config.heads = 4;
  config.feed_forward = 64;
  config.context = 24;
  return models::LanguageModel(config, 7);
}

class ExplainLanguage : public testing::TestWithParam<models::ModelKind> {};

TEST_P(ExplainLanguage, TellsWhatTheModelComputes) {
  const auto tokenizer = characters();
  models::LanguageModel model = small_model(GetParam(), *tokenizer);
  const PageExample e = explain_text(model, *tokenizer, kText);
  const std::vector<int32_t> ids = tokenizer->encode(kText).ids;
  const auto n = ids.size();
  ASSERT_EQ(e.tokens.size(), n);
  ASSERT_EQ(e.next.size(), n);
  std::string joined;
  for (const PageToken& t : e.tokens) joined += t.text;
  EXPECT_EQ(joined, kText);
  EXPECT_EQ(e.tokens[0].word, e.tokens[1].word);
  EXPECT_NE(e.tokens[1].word, e.tokens[2].word);

  // The same probabilities as when the text is read token by token.
  models::LanguageModel::State state;
  for (size_t t = 0; t < n; ++t) {
    const Tensor logits = model.next({&ids[t], 1}, state);
    double sum = 0;
    for (const float x : logits.span()) sum += std::exp(static_cast<double>(x));
    if (t + 1 < n) {
      EXPECT_NEAR(e.next[t].actual, std::exp(static_cast<double>(logits.data()[ids[t + 1]])) / sum, 1e-6)
          << t;
    } else {
      EXPECT_LT(e.next[t].actual, 0);
      EXPECT_NEAR(e.prediction[0].probability, e.next[t].candidates[0].probability, 1e-6);
      EXPECT_EQ(e.prediction[0].name, e.next[t].candidates[0].name);
    }
  }

  const bool attends = GetParam() == models::ModelKind::kAttention;
  ASSERT_EQ(e.relevance.size(), attends ? 3U : 2U);
  for (const PageRelevance& r : e.relevance) {
    for (const float v : r.values) EXPECT_TRUE(std::isfinite(v)) << r.name;
  }
  if (attends) {
    EXPECT_TRUE(e.attention.causal);
    std::vector<float> rows(n * n);
    e.attention.rows(1, 3, 0, static_cast<int64_t>(n), rows.data());
    for (size_t q = 0; q < n; ++q) {
      EXPECT_NEAR(std::accumulate(rows.begin() + static_cast<int64_t>(q * n),
                                  rows.begin() + static_cast<int64_t>(q * n + n), 0.0),
                  1, 1e-5);
      for (size_t k = q + 1; k < n; ++k) EXPECT_EQ(rows[q * n + k], 0.0F) << q << ' ' << k;
    }
    const std::vector<float>& rollout = e.relevance[0].values;
    EXPECT_NEAR(std::accumulate(rollout.begin(), rollout.end(), 0.0), 1, 1e-5);
  }
  // An embedding scaled by 1 ± ε moves the predicted logit by ±ε times its relevance.
  const std::vector<float>& gradient = e.relevance[attends ? 1 : 0].values;
  const Offsets offsets = Offsets::single(static_cast<int64_t>(n));
  nn::Context context;
  const Tensor x =
      model.embed(Tensor::from<int32_t>(ids, {static_cast<int64_t>(n)}), offsets, context).value();
  // The predicted token: the largest logit of the last position.
  const auto last_logits = [&](const Tensor& embedded) {
    return model
        .logits(model.hidden_of(embedded, offsets, context)
                    .value()
                    .rows(static_cast<int64_t>(n) - 1, static_cast<int64_t>(n)))
        .value();
  };
  const Tensor logits = last_logits(x);
  const int64_t target = std::max_element(logits.span().begin(), logits.span().end()) - logits.span().begin();
  constexpr float kStep = 0.02F;
  for (size_t t = 0; t < n; ++t) {
    double moved[2];
    for (const int side : {0, 1}) {
      Tensor y = x.clone();
      for (int64_t c = 0; c < 32; ++c)
        y.data()[static_cast<int64_t>(t) * 32 + c] *= side == 0 ? 1 + kStep : 1 - kStep;
      moved[side] = static_cast<double>(last_logits(y).data()[target]);
    }
    const double expected = (moved[0] - moved[1]) / (2 * static_cast<double>(kStep));
    // Logits below 1 round to 2^-24 after some hundred sums, over 2·0.02; third order below 0.02² of the
    // value.
    EXPECT_NEAR(gradient[t], expected, 2e-5 + 0.01 * std::abs(expected)) << t;
  }
  for (const nn::Parameter& p : model.parameters()) EXPECT_FALSE(p.var.grad().defined()) << p.name;
}

INSTANTIATE_TEST_SUITE_P(Kinds, ExplainLanguage,
                         testing::Values(models::ModelKind::kAttention, models::ModelKind::kLstm),
                         [](const auto& kind) { return std::string(models::to_string(kind.param)); });

TEST(ExplainLanguageEdges, EmptyShortAndOverlongTexts) {
  const auto tokenizer = characters();
  models::LanguageModel model = small_model(models::ModelKind::kAttention, *tokenizer);
  EXPECT_TRUE(explain_text(model, *tokenizer, "").tokens.empty());
  EXPECT_EQ(explain_text(model, *tokenizer, "t").relevance.size(), 3U);
  EXPECT_EQ(explain_text(model, *tokenizer, std::string(100, 'b')).tokens.size(), 24U);
}

}  // namespace
}  // namespace fovea::explain
