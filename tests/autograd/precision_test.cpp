#include "fovea/autograd/precision.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fovea/autograd/functions/feed_forward.hpp"
#include "fovea/autograd/functions/linear.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/base/random.hpp"

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

TEST(Precision, Bf16FeedForwardEqualsItsParts) {
  const Tensor x = random({33, 16}, 1), up = random({48, 16}, 2), down = random({16, 48}, 3),
               dy = random({33, 16}, 4);
  const auto gradients = [&](bool fused) {
    const Var vx = Var::parameter(x), vu = Var::parameter(up), vd = Var::parameter(down);
    Tape tape;
    Var y;
    {
      const TapeScope scope(tape);
      const PrecisionScope how(Precision::kBFloat16);
      y = fused ? feed_forward(vx, vu, {}, vd, {}, {.activation = Activation::kGelu})
                : linear(linear_activation(vx, vu, {}, Activation::kGelu), vd);
    }
    tape.backward_from(y, dy.clone());
    return std::vector<Tensor>{y.value(), vx.grad(), vu.grad(), vd.grad()};
  };
  const std::vector<Tensor> fused = gradients(true), parts = gradients(false);
  // In bf16 the layer is its parts, to the bit: it fails if the layer does not heed the scope.
  for (size_t i = 0; i < fused.size(); ++i) {
    for (int64_t j = 0; j < fused[i].numel(); ++j) {
      EXPECT_EQ(fused[i].data()[j], parts[i].data()[j]) << i << " " << j;
    }
  }
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
