// The call's checks, relative buckets and rotary positions.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/attention/attention.hpp"
#include "fovea/attention/rotary.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/memory.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

TEST(AttentionCall, UniformScoresAverageTheValues) {
  const Tensor q = Tensor::zeros({2, 1, 4});
  const Tensor v = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 1, 2});
  const AttentionResult r = attention(q, Tensor::zeros({3, 1, 4}), v);
  EXPECT_NEAR(r.out.data()[0], 3.0f, 1e-6f);
  EXPECT_NEAR(r.out.data()[3], 4.0f, 1e-6f);
  EXPECT_NEAR(r.lse.data()[0], std::log(3.0f), 1e-6f);
}

TEST(AttentionCall, NamesWhatIsWrong) {
  const Tensor a = Tensor::zeros({4, 2, 8}), b = Tensor::zeros({4, 2, 4}), c = Tensor::zeros({4, 3, 8});
  const Tensor flat = Tensor::zeros({4, 8});
  EXPECT_ERROR(attention(flat, a, a), ArgumentError,
               "[attention] expected q as float32 [T, heads, width], got float32 [4, 8]");
  EXPECT_ERROR(attention(Tensor(), a, a), ArgumentError,
               "[attention] expected q as float32 [T, heads, width], got nothing ");
  EXPECT_ERROR(attention(a, b, b), ArgumentError,
               "[attention_forward] expected q and k of equal width, got 8 and 4");
  EXPECT_ERROR(attention(a, c, c), ArgumentError,
               "[attention_forward] expected a number of key heads that divides the 2 query heads, got 3");
  EXPECT_ERROR(attention(a, a, c), ArgumentError,
               "[attention_forward] expected k and v with equal heads, got 2 and 3");
  EXPECT_ERROR(
      attention(a, a, a, Offsets({0, 3}), Offsets({0, 4})), ArgumentError,
      "[attention_forward] expected q with one row for each of the 3 tokens of its offsets, got 4 rows");
  EXPECT_ERROR(attention(a, a, a, Offsets({0, 2, 4}), Offsets({0, 4})), ArgumentError,
               "[attention_forward] expected as many sequences of queries as of keys, got 2 and 1");
  EXPECT_ERROR(attention(a, a, a, {.window_left = -2}), ArgumentError,
               "[attention_forward] expected window_left and window_right >= -1, got -2 and -1");
  EXPECT_ERROR(attention(a, a, a, {.dropout = 1.0f}), ArgumentError,
               "[attention_forward] expected dropout in [0, 1), got 1");
  EXPECT_ERROR(attention(a, a, a, {.softcap = -1.0f}), ArgumentError,
               "[attention_forward] expected softcap >= 0, got -1");
  // A reciprocal that is infinite gives NaN times 0.
  EXPECT_ERROR(attention(a, a, a, {.softcap = 1e-40f}), ArgumentError,
               "[attention_forward] expected softcap 0 or a number whose reciprocal is finite, got 1e-40");
  EXPECT_ERROR(attention(a, a, a, {}, observe::top_k(-1)), ArgumentError,
               "[attention_forward] expected top_k >= 1, or 0 for none, got -1");
  AttentionInputs inputs;
  const auto view = contiguous_view<const float, 3>(a.data(), {4, 2, 8});
  inputs.q = inputs.k = inputs.v = view;
  inputs.q_offsets = inputs.k_offsets = Offsets::single(4);
  const float slope = 1.0f;
  inputs.alibi_slopes = {&slope, 1};
  EXPECT_ERROR(attention(inputs), ArgumentError,
               "[attention_forward] expected one ALiBi slope for each of the 2 heads, got 1");
  inputs.alibi_slopes = {};
  inputs.sinks = {&slope, 1};
  EXPECT_ERROR(attention(inputs), ArgumentError,
               "[attention_forward] expected one sink for each of the 2 heads, got 1");
  inputs.sinks = {};
  float lse[8] = {};
  EXPECT_ERROR(attention_backward(inputs, {}, view, lse, view, {.dslopes = lse}), ArgumentError,
               "[attention_backward] expected no dslopes without ALiBi slopes");
  inputs.scales = {&slope, 1};
  EXPECT_ERROR(attention(inputs), ArgumentError,
               "[attention_forward] expected one scale for each of the 2 heads, got 1");
  const float two[] = {1.0f, 2.0f};
  inputs.scales = two;
  EXPECT_ERROR(attention(inputs, {.scale = 1.0f}), ArgumentError,
               "[attention_forward] expected either a scale for each head or one for all, got both");
  inputs.scales = {};
  EXPECT_ERROR(attention_backward(inputs, {}, view, lse, view, {.dscales = lse}), ArgumentError,
               "[attention_backward] expected no dscales without scales");
  inputs.sinks = two;
  EXPECT_ERROR(attention(inputs, {.normalizer = Normalizer::kSoftmaxOne}), ArgumentError,
               "[attention_forward] expected no sinks with softmax-one, whose sink is 0, got 2");
  inputs.sinks = {};
  inputs.bias = broadcast_scores<const float>(two, {1, 2, 1, 1}, {1, 2, 4, 3});
  EXPECT_ERROR(
      attention(inputs), ArgumentError,
      "[attention_forward] expected bias [1, 2, 4, 4] (0 as the stride of an axis that it is broadcast "
      "along), got [1, 2, 4, 3]");
  inputs.bias.dims[3] = 4;
  EXPECT_ERROR(attention_backward(inputs, {}, view, lse, view, {.dbias = {lse, {1, 2, 4, 5}, {}}}),
               ArgumentError,
               "[attention_backward] expected dbias with the dimensions of the bias, [1, 2, 4, 4], got "
               "[1, 2, 4, 5]");
  inputs.bias = {};
  EXPECT_ERROR(attention_backward(inputs, {}, view, lse, view, {.dbias = {lse, {1, 2, 4, 4}, {}}}),
               ArgumentError, "[attention_backward] expected no dbias without a bias");
  const uint8_t seen = 1;
  inputs.mask = broadcast_scores<const uint8_t>(&seen, {1, 1, 1, 1}, {2, 2, 4, 4});
  EXPECT_ERROR(
      attention(inputs), ArgumentError,
      "[attention_forward] expected mask [1, 2, 4, 4] (0 as the stride of an axis that it is broadcast "
      "along), got [2, 2, 4, 4]");
  inputs.mask = {};
  const std::vector<BlockMask> blocks(3, BlockMask::causal(4, 5));
  inputs.blocks = blocks;
  EXPECT_ERROR(
      attention(inputs), ArgumentError,
      "[attention_forward] expected one block mask for all, one for each of the 1 sequences, or one for "
      "each of their 2 heads too, got 3");
  inputs.blocks = {blocks.data(), 1};
  EXPECT_ERROR(
      attention(inputs), ArgumentError,
      "[attention_forward] expected a block mask of 4 queries and 4 keys for sequence 0, got 4 and 5");
  inputs.blocks = {};
  const Tensor table = Tensor::zeros({9, 2});
  inputs.relative = {table.data(), 9, 5, true, RelativeKind::kDistances};
  EXPECT_ERROR(attention(inputs), ArgumentError,
               "[attention_forward] expected a relative table of 11 rows for distances up to 5, got 9");
  inputs.relative = {};
  const int64_t outside[] = {4};
  EXPECT_ERROR(attention_rows(inputs, {}, outside), ArgumentError,
               "[attention_rows] expected queries in [0, 4), got 4");
}

// Values of the bucket function of the T5 paper's published code, distances key − query.
TEST(AttentionCall, AnySizeMayBeZero) {
  const auto call = [](int64_t heads, int64_t keys, int64_t width, int64_t value_width) {
    return attention(Tensor::full({3, heads, width}, 1.0), Tensor::full({keys, heads, width}, 1.0),
                     Tensor::full({keys, heads, value_width}, 2.0), {}, observe::entropy | observe::key_mass);
  };
  EXPECT_EQ(call(0, 4, 8, 8).out.shape(), (Shape{3, 0, 8}));
  EXPECT_EQ(call(2, 4, 8, 0).out.shape(), (Shape{3, 2, 0}));
  const AttentionResult no_width = call(2, 4, 0, 5), no_keys = call(2, 0, 0, 5);
  for (int64_t n = 0; n < 3 * 2 * 5; ++n) {
    EXPECT_FLOAT_EQ(no_width.out.data()[n], 2.0f) << n;
    EXPECT_EQ(no_keys.out.data()[n], 0.0f) << n;
  }
  EXPECT_FLOAT_EQ(no_width.seen.key_mass.data()[0], 0.75f);
}

TEST(RelativeBucket, EqualsTheGoldenValues) {
  const auto two_sided = [](int64_t d) { return relative_bucket(d, 32, 128, true); };
  EXPECT_EQ(two_sided(0), 0);
  EXPECT_EQ(two_sided(-1), 1);
  EXPECT_EQ(two_sided(1), 17);
  EXPECT_EQ(two_sided(-7), 7);
  EXPECT_EQ(two_sided(-8), 8);
  EXPECT_EQ(two_sided(8), 24);
  EXPECT_EQ(two_sided(-11), 8);
  EXPECT_EQ(two_sided(-12), 9);
  EXPECT_EQ(two_sided(-16), 10);
  EXPECT_EQ(two_sided(-64), 14);
  EXPECT_EQ(two_sided(-128), 15);
  EXPECT_EQ(two_sided(1000), 31);
  const auto one_sided = [](int64_t d) { return relative_bucket(d, 32, 128, false); };
  EXPECT_EQ(one_sided(5), 0);
  EXPECT_EQ(one_sided(-15), 15);
  EXPECT_EQ(one_sided(-16), 16);
  EXPECT_EQ(one_sided(-32), 21);
  EXPECT_EQ(one_sided(-128), 31);
}

TEST(Rotary, FarPositionsNeedNoTableOfTheNearer) {
  Tensor x = Tensor::full({2, 1, 8}, 1.0);
  const HeadsView<float> view = contiguous_view<float, 3>(x.data(), {2, 1, 8});
  const int64_t first = int64_t{1} << 30;
  reset_peak_memory();
  const int64_t before = memory_stats().bytes_in_use;
  rotary_forward(view, Offsets::single(2), {.first_position = first});
  EXPECT_LT(memory_stats().peak_bytes_in_use - before, 4096);
  for (int64_t t = 0; t < 2; ++t) {
    for (int64_t p = 0; p < 4; ++p) {
      const double angle = static_cast<double>(first + t) * std::pow(10000.0, -static_cast<double>(p) / 4);
      // The angle, near 2^30, is off by half a unit of float64, 2^-24; the rest is the rounding of float32.
      EXPECT_NEAR(x.data()[t * 8 + p], std::cos(angle) - std::sin(angle), 4e-7);
      EXPECT_NEAR(x.data()[t * 8 + 4 + p], std::cos(angle) + std::sin(angle), 4e-7);
    }
  }
}

TEST(Rotary, TurnsPairsByTheirPosition) {
  for (const RotaryLayout layout : {RotaryLayout::kHalf, RotaryLayout::kInterleaved}) {
    const int64_t width = 6, d = 9;
    Tensor x = Tensor::empty({7, 2, d});
    Random random(4);
    for (float& value : x.span()) value = static_cast<float>(random.normal());
    const Tensor before = x.clone();
    const Offsets offsets({0, 4, 7});
    const RotarySpec spec{layout, width, 100.0f, 3};
    const auto view = contiguous_view<float, 3>(x.data(), {7, 2, d});
    rotary_forward(view, offsets, spec);
    for (int64_t t = 0; t < 7; ++t) {
      const auto position = static_cast<double>((t < 4 ? t : t - 4) + 3);
      for (int64_t h = 0; h < 2; ++h) {
        const float* was = before.data() + (t * 2 + h) * d;
        const float* is = x.data() + (t * 2 + h) * d;
        for (int64_t p = 0; p < width / 2; ++p) {
          const double angle = position * std::pow(100.0, -2.0 * static_cast<double>(p) / 6.0);
          const int64_t i = layout == RotaryLayout::kHalf ? p : 2 * p;
          const int64_t j = layout == RotaryLayout::kHalf ? p + 3 : 2 * p + 1;
          EXPECT_NEAR(is[i], was[i] * std::cos(angle) - was[j] * std::sin(angle), 1e-6);
          EXPECT_NEAR(is[j], was[i] * std::sin(angle) + was[j] * std::cos(angle), 1e-6);
        }
        for (int64_t c = width; c < d; ++c) EXPECT_EQ(is[c], was[c]);
      }
    }
    rotary_backward(view, offsets, spec);  // the transpose is the inverse
    for (int64_t i = 0; i < x.numel(); ++i) EXPECT_NEAR(x.data()[i], before.data()[i], 1e-6f);
  }
  Tensor x = Tensor::zeros({3, 1, 5});
  const auto view = contiguous_view<float, 3>(x.data(), {3, 1, 5});
  EXPECT_ERROR(rotary_forward(view, Offsets::single(3)), ArgumentError,
               "[rotary_forward] expected an even width of at most 5 (the heads' width), got 5");
  EXPECT_ERROR(rotary_forward(view, Offsets::single(2), {.width = 4}), ArgumentError,
               "[rotary_forward] expected offsets over the 3 tokens of x, got 2");
}

// Factors of pairs by the papers' formulas, read off what a unit vector turns into at position 1.
TEST(Rotary, StretchesAnglesForLongContexts) {
  const int64_t d = 64;
  const auto angle_and_length = [&](const RotarySpec& spec, int64_t p) {
    Tensor x = Tensor::zeros({2, 1, d});
    x.data()[d + p] = 1.0f;
    rotary_forward(contiguous_view<float, 3>(x.data(), {2, 1, d}), Offsets::single(2), spec);
    const double a = static_cast<double>(x.data()[d + p]), b = static_cast<double>(x.data()[d + p + d / 2]);
    return std::pair{std::atan2(b, a), std::hypot(a, b)};
  };
  RotarySpec spec{.factor = 4.0f, .original_length = 256};
  for (int64_t p = 0; p < d / 2; ++p) {
    const double plain = std::pow(10000.0, -2.0 * static_cast<double>(p) / 64.0);
    spec.scaling = RotaryScaling::kLinear;
    EXPECT_NEAR(angle_and_length(spec, p).first, plain / 4, 2e-7) << p;
    spec.scaling = RotaryScaling::kNtk;
    const double ntk = std::pow(10000.0 * std::pow(4.0, 64.0 / 62.0), -2.0 * static_cast<double>(p) / 64.0);
    EXPECT_NEAR(angle_and_length(spec, p).first, ntk, 2e-7) << p;
    spec.scaling = RotaryScaling::kYarn;
    // Pairs turn 256·ω/2π times: 32 times at pair 0.84 (floor 0), once at 12.88 (ceil 13).
    const double slow = std::min(1.0, static_cast<double>(p) / 13.0);
    const auto [angle, length] = angle_and_length(spec, p);
    EXPECT_NEAR(angle, plain * (1 - slow) + plain / 4 * slow, 2e-7) << p;
    EXPECT_NEAR(length, 0.1 * std::log(4.0) + 1, 1e-6) << p;
  }
  spec.scaling = RotaryScaling::kNtk;  // the slowest pair as if interpolated
  EXPECT_NEAR(angle_and_length(spec, 31).first, std::pow(10000.0, -62.0 / 64.0) / 4, 1e-7);
  Tensor x = Tensor::zeros({3, 1, 4});
  const auto view = contiguous_view<float, 3>(x.data(), {3, 1, 4});
  EXPECT_ERROR(rotary_forward(view, Offsets::single(3), {.factor = 0.5f}), ArgumentError,
               "[rotary_forward] expected a finite factor >= 1, got 0.5");
  EXPECT_ERROR(rotary_forward(view, Offsets::single(3), {.beta_slow = 40.0f}), ArgumentError,
               "[rotary_forward] expected beta_fast > beta_slow > 0, got 32 and 40");
}

}  // namespace
}  // namespace fovea::testing
