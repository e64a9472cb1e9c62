#include "fovea/autograd/precision.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fovea/autograd/functions/activation.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/autograd/functions/feed_forward.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::autograd {
namespace {

Tensor random(const Shape& shape, uint64_t seed) {
  Random r(seed);
  Tensor t = Tensor::empty(shape);
  for (float& x : t.span()) x = static_cast<float>(r.normal());
  return t;
}

struct Results {
  Tensor y, dx, dw, db;
};

Results run(Precision precision, const Tensor& x, const Tensor& w, const Tensor& b, const Tensor& dy) {
  const Var vx = Var::parameter(x), vw = Var::parameter(w), vb = Var::parameter(b);
  Tape tape;
  Var y;
  {
    const TapeScope scope(tape);
    const PrecisionScope how(precision);
    y = linear(vx, vw, vb);
  }
  tape.backward_from(y, dy.clone());
  return {y.value(), vx.grad(), vw.grad(), vb.grad()};
}

// bf16 keeps 8 significant bits: each operand is rounded with relative error <= 2^-8 (u); a product of two,
// to first order, within 2u of |a||b|; the sum over k adds float32's own error, far below. So |error| <=
// 2u·Σ|a||b|·(1 + u).
void expect_within(const Tensor& got, const Tensor& exact, const Tensor& bound) {
  for (int64_t i = 0; i < got.numel(); ++i) {
    EXPECT_LE(std::abs(got.data()[i] - exact.data()[i]), bound.data()[i] * 0x1.02p-7f + 1e-5f) << i;
  }
}

Tensor absolute(const Tensor& x) {
  Tensor a = x.clone();
  for (float& v : a.span()) v = std::abs(v);
  return a;
}

void expect_same(const Tensor& got, const Tensor& want, const char* what) {
  ASSERT_EQ(got.numel(), want.numel()) << what;
  for (int64_t i = 0; i < got.numel(); ++i) ASSERT_EQ(got.data()[i], want.data()[i]) << what << " " << i;
}

TEST(Precision, Bf16LinearStaysWithinItsBoundForwardAndBackward) {
  for (const int64_t t : {1, 7, 33, 130}) {
    const Tensor x = random({t, 65}, 1), w = random({31, 65}, 2), b = random({31}, 3),
                 dy = random({t, 31}, 4);
    const Results exact = run(Precision::kFloat32, x, w, b, dy);
    const Results half = run(Precision::kBFloat16, x, w, b, dy);
    const Results bound = run(Precision::kFloat32, absolute(x), absolute(w), absolute(b), absolute(dy));
    expect_within(half.y, exact.y, bound.y);
    expect_within(half.dx, exact.dx, bound.dx);
    expect_within(half.dw, exact.dw, bound.dw);
    for (int64_t i = 0; i < 31; ++i) EXPECT_EQ(half.db.data()[i], exact.db.data()[i]);  // sums stay float32
    bool differs = false;
    for (int64_t i = 0; i < half.y.numel(); ++i) differs = differs || half.y.data()[i] != exact.y.data()[i];
    EXPECT_TRUE(differs) << "bf16 rounding must be visible, or the scope did nothing";
  }
}

// The layer is its parts with h, a and dh rounded in between, to the bit: it fails where it heeds the scope
// otherwise, or rounds twice.
TEST(Precision, Bf16FeedForwardEqualsItsPartsRoundedBetween) {
  const Tensor x = random({33, 16}, 1), up = random({48, 16}, 2), up_bias = random({48}, 5),
               down = random({16, 48}, 3), down_bias = random({16}, 6), dy = random({33, 16}, 4);
  const Var vx = Var::parameter(x), vu = Var::parameter(up), vd = Var::parameter(down);
  const Var bu = Var::parameter(up_bias), bd = Var::parameter(down_bias);
  Tape tape;
  const TapeScope scope(tape);
  const PrecisionScope how(Precision::kBFloat16);
  const Var y = feed_forward(vx, vu, bu, vd, bd, {.activation = Activation::kGelu});
  tape.backward_from(y, dy.clone());

  const Var px = Var::parameter(x), pu = Var::parameter(up), pd = Var::parameter(down);
  const Var cu = Var::parameter(up_bias), cd = Var::parameter(down_bias);
  const Var h = linear(px, pu, cu, DType::kBF16);
  ASSERT_EQ(h.value().dtype(), DType::kBF16);
  Tape below;
  Tensor dh;
  {
    const TapeScope inner(below);
    const Var wide = Var::parameter(h.value().to(DType::kF32));
    const Var z = linear(activation(wide, Activation::kGelu), pd, cd);
    expect_same(y.value(), z.value(), "y");
    below.backward_from(z, dy.clone());
    dh = wide.grad();
  }
  tape.backward_from(h, dh.to(DType::kBF16));
  expect_same(vx.grad(), px.grad(), "dx");
  expect_same(vu.grad(), pu.grad(), "dup");
  expect_same(bu.grad(), cu.grad(), "dup bias");
  expect_same(vd.grad(), pd.grad(), "ddown");
  expect_same(bd.grad(), cd.grad(), "ddown bias");
}

// Gradients in bf16 of a value in bf16: the first is adopted, more are added in float32.
TEST(Precision, GradientsOfBf16ValuesAdd) {
  const Tensor x = random({5, 8}, 1), w = random({6, 8}, 2), u = random({4, 6}, 3), dy = random({5, 4}, 4);
  const Var vw = Var::parameter(w), vu = Var::parameter(u);
  Tape tape;
  const TapeScope scope(tape);
  const PrecisionScope how(Precision::kBFloat16);
  Var h = linear(x, vw, {}, DType::kBF16);
  h.retain_grad();
  const Var first = linear(h, vu), second = linear(h, vu);
  tape.backward_from(add(first, second), dy);
  const Tensor got = h.grad();
  ASSERT_EQ(got.dtype(), DType::kF32);
  // Each of the two, of one bf16-rounded sum: within 2^-8 relative of the exact.
  const Tensor dr = dy.to(DType::kBF16).to(DType::kF32), ur = u.to(DType::kBF16).to(DType::kF32);
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t j = 0; j < 6; ++j) {
      double want = 0;
      for (int64_t k = 0; k < 4; ++k)
        want += 2.0 * static_cast<double>(dr.data()[i * 4 + k]) * static_cast<double>(ur.data()[k * 6 + j]);
      EXPECT_NEAR(static_cast<double>(got.data()[i * 6 + j]), want, std::abs(want) * 0x1p-8 + 1e-5);
    }
  }
}

TEST(Precision, ResultsInBf16NeedBf16Precision) {
  const Tensor x = random({3, 4}, 1), w = random({2, 4}, 2);
  EXPECT_ERROR(linear(x, w, {}, DType::kBF16), ArgumentError,
               "[linear] expected a result of float32, or of bfloat16 in bf16 precision, got bfloat16");
}

TEST(Precision, ScopesNest) {
  EXPECT_EQ(current_precision(), Precision::kFloat32);
  {
    const PrecisionScope outer(Precision::kBFloat16);
    {
      const PrecisionScope inner(Precision::kFloat32);
      EXPECT_EQ(current_precision(), Precision::kFloat32);
    }
    EXPECT_EQ(current_precision(), Precision::kBFloat16);
  }
  EXPECT_EQ(current_precision(), Precision::kFloat32);
}

}  // namespace
}  // namespace fovea::autograd
