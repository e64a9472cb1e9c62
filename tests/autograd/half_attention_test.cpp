// Attention under bf16 precision: what is rounded and when, its closeness to float32, and its bits.
//
// Tolerance: q, k and v are rounded (u = 2^-8 relative, at most), so are the weights, out, dout and the
// gradients' left operands. Scores err by 2u·Σ|q_c k_c|·scale, weights by that relative, and sums of up to L
// such terms of random sign stay within a few of these of the largest value: with normal q and k of width 8
// scores lie within ±10, so that 2u·10 + 4u = 24u = 0.09 bounds the relative error of each term.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fovea/attention/half.hpp"
#include "fovea/autograd/functions/attention.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/precision.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/random.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

constexpr int64_t kTokens = 90, kHeads = 2, kWidth = 8;

Tensor random(const Shape& shape, uint64_t seed) {
  Random r(seed);
  Tensor t = Tensor::empty(shape);
  for (float& x : t.span()) x = static_cast<float>(r.normal());
  return t;
}

std::vector<float> numbers(const Tensor& x) {
  const Tensor wide = x.to(DType::kF32);
  return {wide.data(), wide.data() + wide.numel()};
}

// out, dqkv, and the gradients of sinks and slopes.
using Results = std::vector<std::vector<float>>;

Results run(Precision precision, const AttentionOptions& given, DType input = DType::kF32) {
  const Offsets offsets = Offsets::from_lengths(std::vector<int64_t>{70, 0, 5, 15});
  AttentionOptions options = given;
  options.heads = kHeads;
  const Tensor values = random({kTokens, 3 * kHeads * kWidth}, 1);
  Var sinks, table;
  if (given.sinks.defined()) options.sinks = sinks = Var::parameter(random({kHeads}, 3));
  if (given.relative_table.defined()) options.relative_table = table = Var::parameter(random({8, kHeads}, 4));
  Tape tape;
  Var out, qkv;
  {
    const TapeScope scope(tape);
    const PrecisionScope how(precision);
    if (input == DType::kBF16) {  // from a product by the unit matrix, which is exact
      Tensor unit = Tensor::zeros({values.dim(1), values.dim(1)});
      for (int64_t i = 0; i < unit.dim(0); ++i) unit.data()[i * unit.dim(0) + i] = 1.0f;
      const Var source = Var::parameter(values);
      qkv = linear(source, unit, {}, DType::kBF16);
      qkv.retain_grad();
    } else {
      qkv = Var::parameter(values.clone());
    }
    out = attention_qkv(qkv, offsets, options);
  }
  tape.backward_from(out, random({kTokens, kHeads * kWidth}, 2));
  EXPECT_EQ(qkv.grad().dtype(), given.rotary ? DType::kF32 : input);  // turned back in float32
  Results all{numbers(out.value()), numbers(qkv.grad())};
  if (sinks.defined()) all.push_back(numbers(sinks.grad()));
  if (table.defined()) all.push_back(numbers(table.grad()));
  return all;
}

void expect_close(const Results& half, const Results& wide) {
  ASSERT_EQ(half.size(), wide.size());
  for (size_t which = 0; which < half.size(); ++which) {
    ASSERT_EQ(half[which].size(), wide[which].size());
    double largest = 0, squares = 0, errors = 0;
    for (const float x : wide[which]) {
      largest = std::max(largest, std::abs(static_cast<double>(x)));
      squares += static_cast<double>(x) * static_cast<double>(x);
    }
    for (size_t i = 0; i < half[which].size(); ++i) {
      const double error =
          std::abs(static_cast<double>(half[which][i]) - static_cast<double>(wide[which][i]));
      EXPECT_LE(error, 0.09 * largest) << which << " [" << i << "]";
      errors += error * error;
    }
    // Over all of them the roundings, of random sign, cancel: the root mean square stays within a sixth.
    EXPECT_LE(std::sqrt(errors), 0.015 * std::sqrt(squares)) << which;
    EXPECT_GT(errors, 0.0) << which << ": rounding must be visible, or the scope did nothing";
  }
}

std::vector<AttentionOptions> forms() {
  std::vector<AttentionOptions> all(7);
  all[1].spec.causal = true;
  all[2].spec.dropout = 0.2f;
  all[2].spec.dropout_key = RandomKey{3, 4};
  all[3].rotary = RotarySpec{};
  all[4].sinks = Tensor::zeros({kHeads});
  all[4].spec.causal = true;
  all[5].relative_table = Tensor::zeros({8, kHeads});
  all[5].relative_max_distance = 20;
  all[6].mask = Tensor::zeros({1, 1, 70, 70}, DType::kBool);
  for (int64_t i = 0; i < 70 * 70; ++i) static_cast<uint8_t*>(all[6].mask.raw())[i] = i % 5 != 0;
  return all;
}

TEST(HalfAttention, IsCloseToFloat32ForwardAndBackward) {
  for (const AttentionOptions& options : forms())
    expect_close(run(Precision::kBFloat16, options), run(Precision::kFloat32, options));
}

TEST(HalfAttention, TakesBf16AndGivesItsGradientInBf16) {
  for (const AttentionOptions& options : forms()) {
    const Results given = run(Precision::kBFloat16, options, DType::kBF16);
    const Results rounded = run(Precision::kBFloat16, options);
    if (options.rotary) continue;  // rounded after turning, not before
    EXPECT_EQ(given[0], rounded[0]);
    EXPECT_EQ(given[1], rounded[1]);
  }
}

TEST(HalfAttention, SameBitsForAnyNumberOfThreads) {
  const int before = get_num_threads();
  for (const AttentionOptions& options : forms()) {
    set_num_threads(1);
    const Results one = run(Precision::kBFloat16, options, DType::kBF16);
    for (const int threads : {2, 3, 8}) {
      set_num_threads(threads);
      EXPECT_EQ(run(Precision::kBFloat16, options, DType::kBF16), one) << threads;
    }
  }
  set_num_threads(before);
}

TEST(HalfAttention, ARecordedCallIsReadInFloat32) {
  const Offsets offsets = Offsets::single(kTokens);
  AttentionCall call;
  Insight seen;
  AttentionOptions options{.heads = kHeads, .observers = observe::entropy, .seen = &seen, .call = &call};
  const Tensor qkv = random({kTokens, 3 * kHeads * kWidth}, 1);
  const PrecisionScope how(Precision::kBFloat16);
  options.result = DType::kBF16;
  const Var out = attention_qkv(qkv, offsets, options);
  EXPECT_EQ(out.value().dtype(), DType::kBF16);
  const std::vector<int64_t> query{3};
  const Ragged rows = attention_rows(call.inputs, call.spec, query);
  double sum = 0;
  for (int64_t j = 0; j < kTokens; ++j) sum += static_cast<double>(rows.tokens.data()[j * kHeads]);
  EXPECT_NEAR(sum, 1.0, 1e-5);
}

TEST(HalfAttention, ResultsInBf16NeedBf16Precision) {
  AttentionOptions options{.heads = kHeads, .result = DType::kBF16};
  const Tensor qkv = random({4, 3 * kHeads * kWidth}, 1);
  EXPECT_ERROR(
      attention_qkv(qkv, Offsets::single(4), options), ArgumentError,
      "[attention_qkv] expected a result of float32, or of bfloat16 in bf16 precision, got bfloat16");
}

}  // namespace
}  // namespace fovea::autograd
