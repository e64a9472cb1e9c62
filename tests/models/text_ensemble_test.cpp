#include "fovea/models/text_ensemble.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"

namespace fovea::models {
namespace {

TextClassifierConfig small(int64_t members) {
  TextClassifierConfig c;
  c.vocab_size = 11;
  c.classes = 3;
  c.layers = 1;
  c.width = 8;
  c.heads = 2;
  c.feed_forward = 16;
  c.max_tokens = 8;
  c.members = members;
  return c;
}

TextBatch batch() {
  const int32_t ids[] = {1, 4, 7, 2, 10, 0};
  const int64_t lengths[] = {3, 0, 2, 1};
  return {Tensor::from<int32_t>(ids, {6}), Offsets::from_lengths(lengths), {}, {}};
}

std::vector<double> log_softmax(std::span<const float> x) {
  double sum = 0;
  for (const float v : x) sum += std::exp(static_cast<double>(v));
  std::vector<double> out;
  for (const float v : x) out.push_back(static_cast<double>(v) - std::log(sum));
  return out;
}

TEST(TextEnsemble, OneMemberIsAClassifier) {
  TextEnsemble ensemble(small(1), 5);
  TextClassifier alone(small(1), 5);
  nn::Context context;
  const Tensor a = ensemble.logits(batch(), context).value(), b = alone.logits(batch(), context).value();
  for (int64_t i = 0; i < a.numel(); ++i) EXPECT_EQ(a.data()[i], b.data()[i]);
  EXPECT_EQ(ensemble.parameters()[0].name, alone.parameters()[0].name);
}

TEST(TextEnsemble, MembersDifferAndTheirLogProbabilitiesAreAveraged) {
  TextEnsemble ensemble(small(3), 5);
  const auto names = ensemble.parameters();
  EXPECT_EQ(names.front().name.rfind("members.0.", 0), 0U);
  EXPECT_EQ(names.back().name.rfind("members.2.", 0), 0U);
  // Each member alone, by its own parameters.
  const size_t each = names.size() / 3;
  std::vector<std::vector<double>> expected(4, std::vector<double>(3));
  std::vector<Tensor> singles;
  nn::Context context;
  for (size_t m = 0; m < 3; ++m) {
    TextEnsemble one(small(1), 99);
    std::vector<nn::NamedTensor> state;
    for (size_t i = 0; i < each; ++i) {
      const auto& p = names[m * each + i];
      state.push_back({p.name.substr(10), p.var.value()});
    }
    one.load_state(state);
    singles.push_back(one.logits(batch(), context).value());
    for (size_t n = 0; n < 4; ++n) {
      const auto row = log_softmax(singles[m].span().subspan(n * 3, 3));
      for (size_t c = 0; c < 3; ++c) expected[n][c] += row[c] / 3;
    }
  }
  EXPECT_NE(singles[0].data()[0], singles[1].data()[0]);
  const Tensor logits = ensemble.logits(batch(), context).value();
  const Tensor halves = ensemble.classify(ensemble.embed(batch(), context), batch().offsets, context).value();
  for (size_t n = 0; n < 4; ++n) {
    for (size_t c = 0; c < 3; ++c) {
      EXPECT_NEAR(logits.data()[n * 3 + c], expected[n][c], 1e-5);
      EXPECT_NEAR(halves.data()[n * 3 + c], expected[n][c], 1e-5);
    }
  }
}

TEST(TextEnsemble, LossIsTheMeanOfTheMembersOwn) {
  TextEnsemble ensemble(small(2), 5);
  const int32_t labels[] = {2, 0, 1, 1};
  const Tensor targets = Tensor::from<int32_t>(labels, {4});
  nn::Context context;
  autograd::Tape tape;
  autograd::Var loss;
  {
    const autograd::TapeScope scope(tape);
    loss = ensemble.loss(batch(), targets, {}, context);
  }
  tape.backward(loss);
  // The loss of the averaged log-probabilities is smaller (it is not what is trained): the members' own must
  // be the mean over members and rows of −log p.
  double expected = 0;
  const auto names = ensemble.parameters();
  const size_t each = names.size() / 2;
  for (size_t m = 0; m < 2; ++m) {
    TextEnsemble one(small(1), 99);
    std::vector<nn::NamedTensor> state;
    for (size_t i = 0; i < each; ++i)
      state.push_back({names[m * each + i].name.substr(10), names[m * each + i].var.value()});
    one.load_state(state);
    const Tensor logits = one.logits(batch(), context).value();
    for (size_t n = 0; n < 4; ++n) {
      expected -= log_softmax(logits.span().subspan(n * 3, 3))[static_cast<size_t>(labels[n])] / 8;
    }
  }
  EXPECT_NEAR(loss.value().data()[0], expected, 1e-5);
  for (const auto& p : names) EXPECT_TRUE(p.var.grad().defined()) << p.name;
}

TEST(TextEnsemble, RefusesWhatIsWrong) {
  EXPECT_THROW(TextEnsemble(small(0), 1), ArgumentError);
  TextEnsemble ensemble(small(2), 5);
  nn::Context context;
  EXPECT_THROW(ensemble.classify(autograd::Var(Tensor::zeros({6, 8})), batch().offsets, context),
               ArgumentError);
}

}  // namespace
}  // namespace fovea::models
