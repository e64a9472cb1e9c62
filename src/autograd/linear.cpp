#include "fovea/autograd/functions/linear.hpp"

#include "autograd/rounded_products.hpp"
#include "autograd/support.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/reduce.hpp"

namespace fovea::autograd {
namespace {

// Inputs 0, 1, 2 are x, weight and bias, for every function of this family. x and weight are kept as forward
// read them, so that backward multiplies in the same precision; an x that its function remakes is not kept.
class LinearFunction : public Function {
 public:
  using Function::kept;
  // Of the products, and of x as it came: the gradient of a bf16 value may be bf16.
  struct Types {
    Precision precision;
    DType x;
  };
  LinearFunction(Tensor x, Tensor weight, Types types)
      : x_(std::move(x)), weight_(std::move(weight)), types_(types) {}
  const char* name() const override { return "linear"; }
  void backward(Tensor dy) override { products(dy); }

 protected:
  void products(const Tensor& dy) {
    const int64_t rows = dy.dim(0);
    const int64_t out = dy.dim(1);
    const Tensor d = needs(0) || needs(1) ? rounded(dy, types_.precision) : Tensor{};
    if (needs(1)) {
      const Tensor x = rounded(value_of(0, x_), types_.precision);
      auto [dw, accumulate] = target(1);
      multiply_into({.m = out, .n = x.dim(1), .k = rows, .transpose_a = true, .accumulate = accumulate}, d, x,
                    dw);
    }
    if (needs(2)) {
      auto [db, accumulate] = target(2);
      sum_columns(dy, db.data(), accumulate);
    }
    if (!needs(0)) return;
    if (types_.x == DType::kBF16 && fresh(0)) {
      Tensor dx = Tensor::empty({rows, weight_.dim(1)}, DType::kBF16);
      multiply_into({.m = rows, .n = weight_.dim(1), .k = out}, d, weight_, dx);
      return give(0, std::move(dx));
    }
    auto [dx, accumulate] = target(0);
    multiply_into({.m = rows, .n = weight_.dim(1), .k = out, .accumulate = accumulate}, d, weight_, dx);
  }

 private:
  Tensor x_, weight_;
  Types types_;
};

class LinearActivationFunction final : public LinearFunction {
 public:
  // `kept` is the activation's input or output, whichever its derivative reads.
  LinearActivationFunction(Tensor x, Tensor weight, Types types, Activation act, Tensor kept)
      : LinearFunction(std::move(x), std::move(weight), types), act_(act), kept_(std::move(kept)) {}
  const char* name() const override { return "linear_activation"; }
  void backward(Tensor dy) override {
    Reused dh = reuse(dy);
    kernels::activation_backward(act_, dh.out.numel(), kept_.data(), kept_.data(), dh.from(), dh.out.data());
    kept_ = {};
    products(dh.out);
  }

 private:
  Activation act_;
  Tensor kept_;
};

class LinearAddFunction final : public LinearFunction {
 public:
  using LinearFunction::LinearFunction;
  const char* name() const override { return "linear_add"; }
  void backward(Tensor dy) override {
    products(dy);
    if (needs(3)) give(3, std::move(dy));
  }
};

class MatmulFunction final : public Function {
 public:
  MatmulFunction(Tensor a, Tensor b, bool transpose_b)
      : a_(std::move(a)), b_(std::move(b)), transpose_b_(transpose_b) {}
  const char* name() const override { return "matmul"; }
  void backward(Tensor dy) override {
    const int64_t m = dy.dim(0);
    const int64_t n = dy.dim(1);
    if (needs(0)) {
      auto [da, accumulate] = target(0);
      kernels::matmul({.m = m,
                       .n = b_.dim(transpose_b_ ? 1 : 0),
                       .k = n,
                       .transpose_b = !transpose_b_,
                       .accumulate = accumulate},
                      dy.data(), b_.data(), da.data());
    }
    if (needs(1)) {
      const int64_t k = a_.dim(1);
      auto [db, accumulate] = target(1);
      if (transpose_b_) {
        kernels::matmul({.m = n, .n = k, .k = m, .transpose_a = true, .accumulate = accumulate}, dy.data(),
                        a_.data(), db.data());
      } else {
        kernels::matmul({.m = k, .n = n, .k = m, .transpose_a = true, .accumulate = accumulate}, a_.data(),
                        dy.data(), db.data());
      }
    }
  }

 private:
  Tensor a_, b_;
  bool transpose_b_;
};

void check_linear(const char* op, const Var& x, const Var& weight, const Var& bias) {
  check_operand(op, "x", x, 2);
  check_rank(op, "weight", weight, 2);
  check_argument(x.dim(1) == weight.dim(1), op,
                 "expected x [T, in] and weight [out, in], got x {} and weight {}", to_string(x.shape()),
                 to_string(weight.shape()));
  check_optional_vector(op, "bias", bias.value(), weight.dim(0));
}

// The operands of one call, each rounded once for forward and backward.
struct Operands {
  Operands(const Var& x, const Var& w)
      : input(current_precision() == Precision::kFloat32 ? widened(x.value())
                                                         : rounded(x.value(), Precision::kBFloat16)),
        weight(rounded(w.value(), current_precision())),
        x_(x),
        w_(w) {}
  void product(const Var& bias, bool accumulate, Tensor& y) const {
    multiply_into({.m = input.dim(0),
                   .n = weight.dim(0),
                   .k = input.dim(1),
                   .transpose_b = true,
                   .bias = data_or_null(bias.value()),
                   .accumulate = accumulate},
                  input, weight, y);
  }
  // What backward reads, and no more: an activation lives on only for its weight's gradient.
  Tensor kept_input() const { return w_.requires_grad() ? LinearFunction::kept(x_, input) : Tensor{}; }
  Tensor kept_weight() const { return x_.requires_grad() ? weight : Tensor{}; }
  LinearFunction::Types types() const { return {precision_of(weight), x_.value().dtype()}; }

  Tensor input, weight;

 private:
  const Var& x_;
  const Var& w_;
};

}  // namespace

Var linear(const Var& x, const Var& weight, const Var& bias, DType result) {
  check_linear("linear", x, weight, bias);
  check_argument(result == DType::kF32 || result == product_dtype(), "linear",
                 "expected a result of float32, or of bfloat16 in bf16 precision, got {}", to_string(result));
  Tensor y = Tensor::empty({x.dim(0), weight.dim(0)}, result);
  const Operands operands(x, weight);
  operands.product(bias, false, y);
  return record<LinearFunction>(std::move(y), {x, weight, bias}, operands.kept_input(),
                                operands.kept_weight(), operands.types());
}

Var linear_activation(const Var& x, const Var& weight, const Var& bias, Activation act) {
  check_linear("linear_activation", x, weight, bias);
  Tensor h = Tensor::empty({x.dim(0), weight.dim(0)});
  const Operands operands(x, weight);
  operands.product(bias, false, h);
  const bool from_output =
      act == Activation::kRelu || act == Activation::kSigmoid || act == Activation::kTanh;
  Tensor y = from_output || !recording({&x, &weight, &bias}) ? h : Tensor::empty(h.shape());
  kernels::activation_forward(act, h.numel(), h.data(), y.data());
  return record<LinearActivationFunction>(std::move(y), {x, weight, bias}, operands.kept_input(),
                                          operands.kept_weight(), operands.types(), act, std::move(h));
}

Var linear_add(const Var& h, const Var& weight, const Var& bias, Var residual) {
  check_linear("linear_add", h, weight, bias);
  check_rank("linear_add", "residual", residual, 2);
  check_argument(residual.shape() == Shape({h.dim(0), weight.dim(0)}), "linear_add",
                 "expected residual [{}, {}], got {}", h.dim(0), weight.dim(0), to_string(residual.shape()));
  Tensor y = residual.value().unique() ? std::move(residual.value()) : residual.value().clone();
  const Operands operands(h, weight);
  operands.product(bias, true, y);
  return record<LinearAddFunction>(std::move(y), {h, weight, bias, residual}, operands.kept_input(),
                                   operands.kept_weight(), operands.types());
}

Var matmul(const Var& a, const Var& b, bool transpose_b) {
  check_rank("matmul", "a", a, 2);
  check_rank("matmul", "b", b, 2);
  const int64_t n = b.dim(transpose_b ? 0 : 1);
  check_argument(a.dim(1) == b.dim(transpose_b ? 1 : 0), "matmul",
                 "expected equal inner sizes, got a {} and b {}{}", to_string(a.shape()),
                 to_string(b.shape()), transpose_b ? " transposed" : "");
  Tensor c = Tensor::empty({a.dim(0), n});
  kernels::matmul({.m = a.dim(0), .n = n, .k = a.dim(1), .transpose_b = transpose_b}, a.value().data(),
                  b.value().data(), c.data());
  return record<MatmulFunction>(std::move(c), {a, b}, b.requires_grad() ? a.value() : Tensor{},
                                a.requires_grad() ? b.value() : Tensor{}, transpose_b);
}

}  // namespace fovea::autograd
