#include "fovea/autograd/functions/dropout.hpp"

#include "autograd/support.hpp"
#include "fovea/autograd/functions/arithmetic.hpp"
#include "fovea/kernels/dropout.hpp"

namespace fovea::autograd {
namespace {

// Inputs: x and, for dropout_add, the residual.
class DropoutFunction final : public Function {
 public:
  DropoutFunction(float p, RandomKey key, bool adds) : p_(p), key_(key), adds_(adds) {}
  const char* name() const override { return adds_ ? "dropout_add" : "dropout"; }
  void backward(Tensor dy) override {
    if (adds_ && needs(1)) give(1, dy);
    if (!needs(0)) return;
    Reused dx = reuse(dy);
    kernels::dropout(dx.out.numel(), p_, key_, dx.from(), dx.out.data());
    give(0, std::move(dx.out));
  }

 private:
  float p_;
  RandomKey key_;
  bool adds_;
};

class DropoutRowsFunction final : public Function {
 public:
  DropoutRowsFunction(float p, RandomKey key) : p_(p), key_(key) {}
  const char* name() const override { return "dropout_rows"; }
  void backward(Tensor dy) override {
    Reused dx = reuse(dy);
    kernels::dropout_rows(dx.out.dim(0), dx.out.dim(1), p_, key_, dx.from(), dx.out.data());
    give(0, std::move(dx.out));
  }

 private:
  float p_;
  RandomKey key_;
};

void check_probability(const char* op, float p) {
  check_argument(p >= 0.0f && p < 1.0f, op, "expected a probability in [0, 1), got {}", p);
}

}  // namespace

Var dropout(Var x, float p, RandomKey key) {
  check_f32("dropout", "x", x.value());
  check_probability("dropout", p);
  if (p == 0.0f) return x;
  Reused y = reuse(x.value());
  kernels::dropout(y.out.numel(), p, key, y.from(), y.out.data());
  return record<DropoutFunction>(std::move(y.out), {x}, p, key, false);
}

Var dropout_add(const Var& x, Var residual, float p, RandomKey key) {
  check_same_shape("dropout_add", x, residual);
  check_probability("dropout_add", p);
  if (p == 0.0f) return add(std::move(residual), x);
  Reused y = reuse(residual.value());
  kernels::dropout_add(y.out.numel(), p, key, x.value().data(), y.from(), y.out.data());
  return record<DropoutFunction>(std::move(y.out), {x, residual}, p, key, true);
}

Var dropout_rows(Var x, float p, RandomKey key) {
  check_rank("dropout_rows", "x", x, 2);
  check_probability("dropout_rows", p);
  if (p == 0.0f) return x;
  Reused y = reuse(x.value());
  kernels::dropout_rows(y.out.dim(0), y.out.dim(1), p, key, y.from(), y.out.data());
  return record<DropoutRowsFunction>(std::move(y.out), {x}, p, key);
}

}  // namespace fovea::autograd
