#include "fovea/autograd/tape.hpp"

#include <gtest/gtest.h>

#include "fovea/base/error.hpp"
#include "fovea/base/memory.hpp"

namespace fovea::autograd {
namespace {

// y = x · w elementwise: dx = dy · w, dw = dy · x. Written with plain loops, so the tape is tested alone.
class ProductFunction final : public Function {
 public:
  ProductFunction(Tensor x, Tensor w) : x_(std::move(x)), w_(std::move(w)) {}
  const char* name() const override { return "product"; }
  void backward(Tensor dy) override {
    if (needs(0)) add(0, dy, w_);
    if (needs(1)) add(1, dy, x_);
  }

 private:
  void add(int i, const Tensor& dy, const Tensor& other) {
    auto [grad, accumulate] = target(i);
    for (int64_t j = 0; j < dy.numel(); ++j) {
      const float g = dy.data()[j] * other.data()[j];
      grad.data()[j] = accumulate ? grad.data()[j] + g : g;
    }
  }
  Tensor x_, w_;
};

Var product(const Var& x, const Var& w) {
  Tensor y = Tensor::empty(x.shape());
  for (int64_t j = 0; j < y.numel(); ++j) y.data()[j] = x.value().data()[j] * w.value().data()[j];
  return record<ProductFunction>(std::move(y), {x, w}, x.value(), w.value());
}

Tensor one(float v) {
  return Tensor::full({1}, v);
}

TEST(Tape, DifferentiatesAProductUsedTwice) {
  const Var x = Var::parameter(one(3));
  Tape tape;
  Var y;
  {
    const TapeScope scope(tape);
    y = product(product(x, x), x);  // x^3
  }
  tape.backward(y);
  EXPECT_EQ(x.grad().data()[0], 27);
  EXPECT_EQ(tape.size(), 0u);
}

TEST(Tape, AccumulatesUntilCleared) {
  Var x = Var::parameter(one(3));
  Tape tape;
  for (int i = 0; i < 2; ++i) {
    const TapeScope scope(tape);
    const Var y = product(x, Var(one(5)));
    tape.backward(y, 0.5);
  }
  EXPECT_EQ(x.grad().data()[0], 5);
  const int64_t before = memory_stats().bytes_in_use;
  x.clear_grad();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_LT(memory_stats().bytes_in_use, before) << "a cleared gradient gives its memory back";
  {
    const TapeScope scope(tape);
    tape.backward(product(x, Var(one(5))));
  }
  EXPECT_EQ(x.grad().data()[0], 5);
}

TEST(Tape, RecordsNothingWithoutScopeOrGradient) {
  const Var x = Var::parameter(one(3));
  Tape tape;
  EXPECT_FALSE(product(x, x).requires_grad());
  const TapeScope scope(tape);
  EXPECT_FALSE(product(Var(one(1)), Var(one(2))).requires_grad());
  {
    const NoTape pause;
    EXPECT_FALSE(product(x, x).requires_grad());
  }
  EXPECT_TRUE(product(x, x).requires_grad());
  EXPECT_EQ(tape.size(), 1u);
}

TEST(Tape, RetainedGradientsSurvive) {
  const Var x = Var::parameter(one(3));
  Tape tape;
  const TapeScope scope(tape);
  Var h = product(x, x);
  h.retain_grad();
  tape.backward(product(h, Var(one(7))));
  EXPECT_EQ(h.grad().data()[0], 7);
  EXPECT_EQ(x.grad().data()[0], 42);
}

TEST(Tape, SteadyStepAsksTheSystemForNothing) {
  Var x = Var::parameter(Tensor::full({1000}, 2));
  Tape tape;
  int64_t before = 0;
  for (int step = 0; step < 5; ++step) {
    if (step == 2) before = memory_stats().system_allocations;
    const TapeScope scope(tape);
    Var y = x;
    for (int i = 0; i < 10; ++i) y = product(y, x);
    tape.backward_from(y, Tensor::full({1000}, 1));
    x.clear_grad();
  }
  EXPECT_EQ(memory_stats().system_allocations, before);
}

TEST(Tape, MisuseIsNamed) {
  Tape tape;
  EXPECT_THROW(tape.backward(Var(one(1))), ArgumentError);
  EXPECT_THROW(tape.backward(Var::parameter(Tensor::zeros({2}))), ArgumentError);
  EXPECT_THROW(Var(one(1)).retain_grad(), ArgumentError);
}

}  // namespace
}  // namespace fovea::autograd
