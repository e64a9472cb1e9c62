#include "fovea/autograd/functions/activation.hpp"

#include "autograd/support.hpp"

namespace fovea::autograd {
namespace {

// ReLU, sigmoid and tanh know their derivative from the output, the others from the input.
bool reads_output(Activation act) {
  return act == Activation::kRelu || act == Activation::kSigmoid || act == Activation::kTanh;
}

class ActivationFunction final : public Function {
 public:
  ActivationFunction(Activation act, Tensor kept) : act_(act), kept_(std::move(kept)) {}
  const char* name() const override { return "activation"; }
  void backward(Tensor dy) override {
    if (fresh(0)) {
      Reused dx = reuse(dy);
      kernels::activation_backward(act_, dx.out.numel(), kept_.data(), kept_.data(), dx.from(),
                                   dx.out.data());
      give(0, std::move(dx.out));
    } else {
      auto [dx, accumulate] = target(0);
      kernels::activation_backward(act_, dx.numel(), kept_.data(), kept_.data(), dy.data(), dx.data(),
                                   accumulate);
    }
  }

 private:
  Activation act_;
  Tensor kept_;
};

class GluFunction final : public Function {
 public:
  GluFunction(Activation act, Tensor x) : act_(act), x_(std::move(x)) {}
  const char* name() const override { return "glu"; }
  void backward(Tensor dy) override {
    Reused dx = reuse(x_);
    kernels::glu_backward(act_, dy.dim(0), dy.dim(1), dx.from(), dy.data(), dx.out.data());
    give(0, std::move(dx.out));
  }

 private:
  Activation act_;
  Tensor x_;
};

}  // namespace

Var activation(Var x, Activation act) {
  check_f32("activation", "x", x.value());
  if (recording({&x}) && !reads_output(act)) {
    Tensor y = Tensor::empty(x.shape());
    kernels::activation_forward(act, y.numel(), x.value().data(), y.data());
    return record<ActivationFunction>(std::move(y), {x}, act, x.value());
  }
  Reused y = reuse(x.value());
  kernels::activation_forward(act, y.out.numel(), y.from(), y.out.data());
  return record<ActivationFunction>(y.out, {x}, act, y.out);
}

Var glu(const Var& x, Activation act) {
  check_rank("glu", "x", x, 2);
  check_argument(x.dim(1) % 2 == 0, "glu", "expected x [T, 2·C], got {}", to_string(x.shape()));
  Tensor y = Tensor::empty({x.dim(0), x.dim(1) / 2});
  kernels::glu_forward(act, y.dim(0), y.dim(1), x.value().data(), y.data());
  return record<GluFunction>(std::move(y), {x}, act, x.value());
}

}  // namespace fovea::autograd
