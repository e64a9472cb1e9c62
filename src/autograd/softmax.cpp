#include "fovea/autograd/functions/softmax.hpp"

#include "autograd/support.hpp"
#include "fovea/kernels/segments.hpp"
#include "fovea/kernels/softmax.hpp"

namespace fovea::autograd {
namespace {

class SoftmaxFunction final : public Function {
 public:
  SoftmaxFunction(Tensor y, bool log) : y_(std::move(y)), log_(log) {}
  const char* name() const override { return log_ ? "log_softmax" : "softmax"; }
  void backward(Tensor dy) override {
    Reused dx = reuse(dy);
    const auto run = log_ ? kernels::log_softmax_backward : kernels::softmax_backward;
    run(y_.dim(0), y_.dim(1), y_.data(), dx.from(), dx.out.data());
    give(0, std::move(dx.out));
  }

 private:
  Tensor y_;
  bool log_;
};

class SegmentSoftmaxFunction final : public Function {
 public:
  SegmentSoftmaxFunction(Offsets offsets, Tensor y) : offsets_(std::move(offsets)), y_(std::move(y)) {}
  const char* name() const override { return "segment_softmax"; }
  void backward(Tensor dy) override {
    Tensor dx = Tensor::empty(y_.shape());
    kernels::segment_softmax_backward(offsets_.count(), offsets_.values().data(), y_.data(), dy.data(),
                                      dx.data());
    give(0, std::move(dx));
  }

 private:
  Offsets offsets_;
  Tensor y_;
};

}  // namespace

Var softmax(const Var& x) {
  check_rank("softmax", "x", x, 2);
  Tensor y = Tensor::empty(x.shape());
  kernels::softmax(x.dim(0), x.dim(1), x.value().data(), y.data());
  return record<SoftmaxFunction>(y, {x}, y, false);
}

Var log_softmax(const Var& x) {
  check_rank("log_softmax", "x", x, 2);
  Tensor y = Tensor::empty(x.shape());
  kernels::log_softmax(x.dim(0), x.dim(1), x.value().data(), y.data());
  return record<SoftmaxFunction>(y, {x}, y, true);
}

Var segment_softmax(const Var& x, const Offsets& offsets) {
  check_rank("segment_softmax", "x", x, 1);
  check_offsets("segment_softmax", offsets, x.dim(0));
  Tensor y = Tensor::empty(x.shape());
  kernels::segment_softmax_forward(offsets.count(), offsets.values().data(), x.value().data(), y.data());
  return record<SegmentSoftmaxFunction>(y, {x}, offsets, y);
}

}  // namespace fovea::autograd
