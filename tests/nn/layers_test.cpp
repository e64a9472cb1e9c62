#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "fovea/autograd/functions/losses.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/nn/convolution.hpp"
#include "fovea/nn/dropout.hpp"
#include "fovea/nn/initialization.hpp"
#include "fovea/nn/key_value_cache.hpp"
#include "fovea/nn/pooling.hpp"
#include "fovea/nn/positions.hpp"
#include "fovea/nn/recurrent.hpp"
#include "fovea/optim/optimizer.hpp"
#include "tests/reference/layers.hpp"

namespace fovea::nn {
namespace {

using autograd::RecurrentState;
using autograd::Tape;
using autograd::TapeScope;
using autograd::Var;

struct Moments {
  double mean = 0;
  double deviation = 0;
  double largest = 0;
};
Moments moments_of(const Tensor& t) {
  Moments m;
  const auto n = static_cast<double>(t.numel());
  for (const float v : t.span()) {
    m.mean += static_cast<double>(v) / n;
    m.largest = std::max(m.largest, std::fabs(static_cast<double>(v)));
  }
  for (const float v : t.span()) m.deviation += std::pow(static_cast<double>(v) - m.mean, 2) / n;
  m.deviation = std::sqrt(m.deviation);
  return m;
}

// 40,000 draws: the deviation errs by 1/√(2n) = 0.35 %, the mean by half a percent of the deviation; 5 σ of
// each.
constexpr double kFew = 0.02;

TEST(Initialization, HasTheVarianceOfItsPaper) {
  Random random(1);
  const Shape shape{100, 400};
  const Moments normal = moments_of(normal_tensor(shape, random, 0.5, 2.0));
  EXPECT_NEAR(normal.mean, 2.0, 0.5 * kFew);
  EXPECT_NEAR(normal.deviation, 0.5, 0.5 * kFew);
  const Moments truncated = moments_of(truncated_normal_tensor(shape, random));
  EXPECT_LE(truncated.largest, 0.04);
  EXPECT_NEAR(truncated.deviation, 0.02 * 0.8796, 0.02 * kFew);  // the variance of N(0,1) within ±2 is 0.7737
  const Moments xavier = moments_of(xavier_uniform(shape, random));
  EXPECT_LE(xavier.largest, std::sqrt(6.0 / 500));
  EXPECT_NEAR(xavier.deviation, std::sqrt(2.0 / 500), std::sqrt(2.0 / 500) * kFew);
  const Moments kaiming = moments_of(kaiming_normal({100, 4, 100}, random));
  EXPECT_NEAR(kaiming.deviation, std::sqrt(2.0 / 400), std::sqrt(2.0 / 400) * kFew);
}

TEST(Initialization, IsAFunctionOfTheSeed) {
  Random a(5);
  Random b(5);
  Random c(6);
  const Tensor x = normal_tensor({33}, a, 1);
  const Tensor y = normal_tensor({33}, b, 1);
  const Tensor z = normal_tensor({33}, c, 1);
  EXPECT_EQ(std::memcmp(x.raw(), y.raw(), 33 * sizeof(float)), 0);
  EXPECT_NE(std::memcmp(x.raw(), z.raw(), 33 * sizeof(float)), 0);
}

TEST(Positions, FollowTheirPapers) {
  const Tensor waves = sinusoidal_table(5, 4);
  EXPECT_FLOAT_EQ(waves.data()[3 * 4 + 0], static_cast<float>(std::sin(3.0)));
  EXPECT_FLOAT_EQ(waves.data()[3 * 4 + 1], static_cast<float>(std::cos(3.0)));
  EXPECT_FLOAT_EQ(waves.data()[3 * 4 + 2], static_cast<float>(std::sin(0.03)));
  // Press et al.: 2^-1 … 2^-8 for 8 heads; 12 heads add 2^-0.5, 2^-1.5, ….
  const Tensor eight = alibi_slopes(8);
  for (int h = 0; h < 8; ++h) EXPECT_FLOAT_EQ(eight.data()[h], std::exp2(-1.0F - static_cast<float>(h)));
  const Tensor twelve = alibi_slopes(12);
  EXPECT_FLOAT_EQ(twelve.data()[7], std::exp2(-8.0F));
  EXPECT_FLOAT_EQ(twelve.data()[8], std::exp2(-0.5F));
  EXPECT_FLOAT_EQ(twelve.data()[11], std::exp2(-3.5F));
  const std::vector<int64_t> first{4, 0};
  const Tensor positions = positions_of(Offsets({0, 2, 5}), first);
  const std::vector<int32_t> want{4, 5, 0, 1, 2};
  EXPECT_TRUE(std::equal(want.begin(), want.end(), positions.data<int32_t>()));
}

TEST(TokenEmbedding, AddsPositionsThatRestartWithEachSequence) {
  Random random(1);
  for (const Positions kind : {Positions::kLearned, Positions::kSinusoidal, Positions::kNone}) {
    const TokenEmbedding embedding({.vocabulary = 7, .width = 4, .positions = kind, .max_length = 8}, random);
    Context context;
    const Tensor ids = Tensor::from<int32_t>({3, 3, 3, 3, 3}, {5});
    const Tensor x = embedding.forward(context, ids, Offsets({0, 2, 5})).value();
    EXPECT_EQ(std::memcmp(x.data(), x.data() + 2 * 4, 2 * 4 * sizeof(float)), 0);  // positions 0, 1 of both
    EXPECT_EQ(std::memcmp(x.data(), x.data() + 4, 4 * sizeof(float)) == 0, kind == Positions::kNone);
    const std::vector<int64_t> first{3};
    const Tensor later = embedding.forward(context, ids.rows(0, 1), Offsets::single(1), first).value();
    const Tensor whole = embedding.forward(context, ids, Offsets::single(5)).value();
    EXPECT_EQ(std::memcmp(later.data(), whole.data() + 3 * 4, 4 * sizeof(float)), 0);
  }
}

TEST(Dropout, KeepsTheExpectedShareAndSequencesWhole) {
  Context context = Context::training(1, 1);
  const Tensor x = Tensor::full({2000, 4}, 1);
  const Offsets offsets = Offsets::uniform(1000, 2);
  const Tensor y = stochastic_depth(context, x, offsets, 0.25F).value();
  int64_t kept = 0;
  for (int64_t n = 0; n < 1000; ++n) {
    const float* row = y.data() + n * 8;
    for (int i = 1; i < 8; ++i) ASSERT_EQ(row[i], row[0]);
    if (row[0] != 0.0F) {
      EXPECT_FLOAT_EQ(row[0], 4.0F / 3.0F);
      ++kept;
    }
  }
  EXPECT_NEAR(static_cast<double>(kept), 750, 5 * std::sqrt(1000 * 0.25 * 0.75));
  const Tensor tokens = token_dropout(context, x, 0.5F).value();
  for (int64_t t = 0; t < 2000; ++t)
    EXPECT_TRUE(tokens.data()[t * 4] == 0.0F || tokens.data()[t * 4] == 2.0F);
  Context still;
  EXPECT_EQ(dropout(still, x, 0.5F).value().data(), x.data());  // inference: the very same tensor
  EXPECT_THROW(stochastic_depth(context, x, offsets, 1.0F), ArgumentError);
}

TEST(Pooling, EachKindGivesOneRowASequence) {
  Random random(1);
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 0}, {3, 2});
  const Offsets offsets({0, 2, 2, 3});
  Context context;
  const auto pooled = [&](PoolingKind kind) {
    const Tensor y = Pooling(kind, 2, random).forward(context, x, offsets).value();
    EXPECT_EQ(y.shape(), (Shape{3, 2}));
    EXPECT_EQ(y.data()[2], 0.0F);  // the empty sequence
    EXPECT_FLOAT_EQ(y.data()[4], 5.0F);
    return std::pair(y.data()[0], y.data()[1]);
  };
  EXPECT_EQ(pooled(PoolingKind::kFirst), std::pair(1.0F, 2.0F));
  EXPECT_EQ(pooled(PoolingKind::kLast), std::pair(3.0F, 4.0F));
  EXPECT_EQ(pooled(PoolingKind::kMean), std::pair(2.0F, 3.0F));
  EXPECT_EQ(pooled(PoolingKind::kMax), std::pair(3.0F, 4.0F));
  const auto [a, b] = pooled(PoolingKind::kAttention);
  EXPECT_FLOAT_EQ(b - a, 1.0F);  // a mixture of (1, 2) and (3, 4)
  EXPECT_TRUE(a >= 1.0F && a <= 3.0F);
}

TEST(RecurrentStack, ForgetGateBeginsOpenAndDirectionsStandSideBySide) {
  Random random(1);
  RecurrentStack lstm({.in = 3, .hidden = 4, .layers = 2, .bidirectional = true}, random);
  EXPECT_EQ(lstm.out(), 8);
  for (const Parameter& p : lstm.parameters()) {
    if (!p.name.ends_with("bias")) continue;
    for (int64_t i = 0; i < 16; ++i) EXPECT_EQ(p.var.value().data()[i], i / 4 == 1 ? 1.0F : 0.0F) << p.name;
  }
  const Parameters p = lstm.parameters();
  const auto array = [](const Tensor& t) {
    return reference::Array{{t.shape().dims().begin(), t.shape().dims().end()},
                            {t.span().begin(), t.span().end()}};
  };
  Tensor x = normal_tensor({9, 3}, random, 1);
  const std::vector<int64_t> cuts{0, 4, 4, 9};
  Context context;
  const Tensor y = lstm.forward(context, x, Offsets(cuts)).value();
  reference::Array h = array(x);
  for (size_t layer = 0; layer < 2; ++layer) {
    reference::Array both = reference::zeros({9, 8});
    for (size_t d = 0; d < 2; ++d) {
      const size_t at = layer * 6 + d * 3;
      const reference::Array b = array(p[at + 2].var.value());
      const reference::Array one =
          reference::lstm(h, array(p[at].var.value()), array(p[at + 1].var.value()), &b, cuts, d == 1);
      for (int64_t t = 0; t < 9; ++t) {
        for (int64_t j = 0; j < 4; ++j) both.at(t, static_cast<int64_t>(d) * 4 + j) = one.at(t, j);
      }
    }
    h = both;
  }
  // Two layers of five steps of some thirty roundings of values below 1.
  for (int64_t i = 0; i < y.numel(); ++i) EXPECT_NEAR(y.data()[i], h.at(i), 300 * 0x1p-24) << i;
}

TEST(RecurrentStack, StatesContinueATextTokenByToken) {
  for (const RecurrentKind kind : {RecurrentKind::kLstm, RecurrentKind::kGru}) {
    Random random(1);
    const RecurrentStack stack({.kind = kind, .in = 3, .hidden = 4, .layers = 2}, random);
    const Tensor x = normal_tensor({6, 3}, random, 1);
    Context context;
    const Tensor want = stack.forward(context, x, Offsets::single(6)).value();
    std::vector<RecurrentState> states;
    for (int64_t t = 0; t < 6; ++t) {
      const Tensor got = stack.forward(context, x.rows(t, t + 1), Offsets::single(1), &states).value();
      for (int64_t j = 0; j < 4; ++j) EXPECT_NEAR(got.data()[j], want.data()[t * 4 + j], 1e-6) << t;
    }
  }
}

TEST(Conv1d, SamePaddingKeepsTheTokensAndCausalOnesLookBack) {
  Random random(1);
  const Conv1d same({.in = 3, .out = 5, .width = 4}, random);
  const Offsets offsets({0, 1, 1, 7});
  EXPECT_EQ(same.forward(Tensor::zeros({7, 3}), offsets).offsets, offsets);
  const Conv1d causal({.in = 3, .out = 5, .width = 3, .padding = Conv1dPadding::kCausal, .dilation = 2},
                      random);
  Tensor x = normal_tensor({7, 3}, random, 1);
  const Tensor before = causal.forward(x, offsets).tokens.value();
  x.data()[6 * 3] += 1;  // the last token
  const Tensor after = causal.forward(x, offsets).tokens.value();
  EXPECT_EQ(std::memcmp(before.raw(), after.raw(), 6 * 5 * sizeof(float)), 0);
  EXPECT_NE(std::memcmp(before.data() + 30, after.data() + 30, 5 * sizeof(float)), 0);
  const Conv1d none({.in = 3, .out = 5, .width = 3, .padding = Conv1dPadding::kNone}, random);
  EXPECT_EQ(none.forward(x, offsets).offsets, Offsets({0, 0, 0, 4}));
  const Conv2d image({.in = 2, .out = 3, .window = {.pad_h = 1, .pad_w = 1}}, random);
  EXPECT_EQ(image.forward(Tensor::zeros({2, 5, 6, 2})).shape(), (Shape{2, 5, 6, 3}));
}

TEST(KeyValueCache, GrowsTruncatesAndReorders) {
  KeyValueCache cache(2);
  Random random(1);
  const Tensor k = normal_tensor({100, 2, 3}, random, 1);
  const Tensor v = normal_tensor({100, 2, 5}, random, 1);
  const auto view = [](const Tensor& t, int64_t begin, int64_t end) {
    return contiguous_view<const float, 3>(t.data() + begin * t.dim(1) * t.dim(2),
                                           {end - begin, t.dim(1), t.dim(2)});
  };
  for (int64_t t = 0; t < 100; ++t) cache.append(1, view(k, t, t + 1), view(v, t, t + 1));
  EXPECT_EQ(cache.length(0), 0);
  EXPECT_EQ(cache.length(1), 100);
  EXPECT_EQ(std::memcmp(cache.keys(1).data, k.raw(), static_cast<size_t>(k.nbytes())), 0);
  EXPECT_EQ(std::memcmp(cache.values(1).data, v.raw(), static_cast<size_t>(v.nbytes())), 0);
  cache.truncate(1, 60);
  const std::vector<int64_t> beams{1, 1, 0};
  cache.reorder(beams);
  EXPECT_EQ(cache.sequences(), 3);
  EXPECT_EQ(cache.length(1), 60);
  EXPECT_NE(cache.keys(0).data, cache.keys(1).data);
  EXPECT_THROW(cache.append(0, view(v, 0, 1), view(v, 0, 1)), ArgumentError);
  EXPECT_THROW(cache.truncate(0, 61), ArgumentError);
}

// A two-way GRU with dropout learns, with the same bits for any number of threads.
TEST(RecurrentStack, TrainsWithTheSameBitsForAnyNumberOfThreads) {
  const int before = get_num_threads();
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 8}) {
    set_num_threads(threads);
    Random random(2);
    RecurrentStack stack({.kind = RecurrentKind::kGru,
                          .in = 8,
                          .hidden = 32,
                          .layers = 2,
                          .bidirectional = true,
                          .dropout = 0.2F},
                         random);
    Linear head(64, 4, random);
    Parameters parameters = stack.parameters();
    for (Parameter& p : head.parameters()) parameters.push_back({"head." + p.name, p.var, p.decay});
    auto optimizer = optim::make_adamw(optim::decay_groups(parameters, 0.0));
    const Offsets offsets = Offsets::from_lengths(std::vector<int64_t>{30, 2, 0, 17, 30, 5});
    const Tensor x = normal_tensor({offsets.total(), 8}, random, 1);
    Tensor targets = Tensor::empty({offsets.total()}, DType::kI32);
    for (int64_t t = 0; t < offsets.total(); ++t)
      targets.data<int32_t>()[t] = static_cast<int32_t>(random.below(4));
    Tape tape;
    float start = 0;
    float end = 0;
    for (uint64_t step = 0; step < 50; ++step) {
      Context context = Context::training(1, step);
      const TapeScope scope(tape);
      const Var loss = autograd::cross_entropy(head.forward(stack.forward(context, x, offsets)), targets);
      tape.backward(loss);
      optimizer->step(1e-2);
      optimizer->zero_grad();
      end = loss.value().data()[0];
      if (step == 0) start = end;
    }
    EXPECT_LT(end, 0.5F * start);
    std::vector<float> all;
    for (const Parameter& p : parameters)
      all.insert(all.end(), p.var.value().span().begin(), p.var.value().span().end());
    if (first.empty()) first = all;
    EXPECT_EQ(std::memcmp(all.data(), first.data(), all.size() * sizeof(float)), 0) << threads << " threads";
  }
  set_num_threads(before);
}

}  // namespace
}  // namespace fovea::nn
