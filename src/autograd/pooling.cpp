#include "fovea/autograd/functions/pooling.hpp"

#include "autograd/support.hpp"
#include "fovea/autograd/functions/rows.hpp"
#include "fovea/autograd/functions/softmax.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/segments.hpp"

namespace fovea::autograd {
namespace {

class MeanPoolFunction final : public Function {
 public:
  MeanPoolFunction(Offsets offsets, bool divides) : offsets_(std::move(offsets)), divides_(divides) {}
  const char* name() const override { return divides_ ? "mean_pool" : "sum_pool"; }
  void backward(Tensor dy) override {
    auto [dx, accumulate] = target(0);
    const auto run = divides_ ? kernels::segment_mean_backward : kernels::segment_sum_backward;
    run(offsets_.count(), dy.dim(1), offsets_.values().data(), dy.data(), dx.data(), accumulate);
  }

 private:
  Offsets offsets_;
  bool divides_;
};

class MaxPoolFunction final : public Function {
 public:
  MaxPoolFunction(Offsets offsets, Tensor argmax)
      : offsets_(std::move(offsets)), argmax_(std::move(argmax)) {}
  const char* name() const override { return "max_pool"; }
  void backward(Tensor dy) override {
    auto [dx, accumulate] = target(0);
    kernels::segment_max_backward(offsets_.count(), dy.dim(1), offsets_.values().data(), dy.data(),
                                  argmax_.data<int64_t>(), dx.data(), accumulate);
  }

 private:
  Offsets offsets_;
  Tensor argmax_;
};

class WeightedPoolFunction final : public Function {
 public:
  WeightedPoolFunction(Offsets offsets, Tensor x, Tensor weights)
      : offsets_(std::move(offsets)), x_(std::move(x)), weights_(std::move(weights)) {}
  const char* name() const override { return "weighted_pool"; }
  void backward(Tensor dy) override {
    Tensor dx = needs(0) ? Tensor::empty(x_.shape()) : Tensor{};
    Tensor dw = needs(1) ? Tensor::empty(weights_.shape()) : Tensor{};
    kernels::segment_weighted_sum_backward(
        offsets_.count(), dy.dim(1), offsets_.values().data(), weights_.data(), x_.data(), dy.data(),
        dx.defined() ? dx.data() : nullptr, dw.defined() ? dw.data() : nullptr);
    if (needs(0)) give(0, std::move(dx));
    if (needs(1)) give(1, std::move(dw));
  }

 private:
  Offsets offsets_;
  Tensor x_, weights_;
};

void check_pool(const char* op, const Var& x, const Offsets& offsets) {
  check_rank(op, "x", x, 2);
  check_offsets(op, offsets, x.dim(0));
}

Var pick_token(const char* op, const Var& x, const Offsets& offsets, bool last) {
  check_pool(op, x, offsets);
  Tensor ids = Tensor::empty({offsets.count()}, DType::kI64);
  for (int64_t n = 0; n < offsets.count(); ++n) {
    const int64_t token = last ? offsets.end(n) - 1 : offsets.begin(n);
    ids.data<int64_t>()[n] = offsets.length(n) == 0 ? -1 : token;
  }
  return gather_rows(x, ids);
}

}  // namespace

Var sum_pool(const Var& x, const Offsets& offsets) {
  check_pool("sum_pool", x, offsets);
  Tensor y = Tensor::empty({offsets.count(), x.dim(1)});
  kernels::segment_sum_forward(offsets.count(), x.dim(1), offsets.values().data(), x.value().data(),
                               y.data());
  return record<MeanPoolFunction>(std::move(y), {x}, offsets, false);
}

Var mean_pool(const Var& x, const Offsets& offsets) {
  check_pool("mean_pool", x, offsets);
  Tensor y = Tensor::empty({offsets.count(), x.dim(1)});
  kernels::segment_mean_forward(offsets.count(), x.dim(1), offsets.values().data(), x.value().data(),
                                y.data());
  return record<MeanPoolFunction>(std::move(y), {x}, offsets, true);
}

Var max_pool(const Var& x, const Offsets& offsets) {
  check_pool("max_pool", x, offsets);
  Tensor y = Tensor::empty({offsets.count(), x.dim(1)});
  Tensor argmax = Tensor::empty(y.shape(), DType::kI64);
  kernels::segment_max_forward(offsets.count(), x.dim(1), offsets.values().data(), x.value().data(), y.data(),
                               argmax.data<int64_t>());
  return record<MaxPoolFunction>(std::move(y), {x}, offsets, std::move(argmax));
}

Var first_token(const Var& x, const Offsets& offsets) {
  return pick_token("first_token", x, offsets, false);
}

Var last_token(const Var& x, const Offsets& offsets) {
  return pick_token("last_token", x, offsets, true);
}

Var weighted_pool(const Var& x, const Var& weights, const Offsets& offsets) {
  check_pool("weighted_pool", x, offsets);
  check_rank("weighted_pool", "weights", weights, 1);
  check_argument(weights.dim(0) == x.dim(0), "weighted_pool",
                 "expected one weight a token, got x {} and weights {}", to_string(x.shape()),
                 to_string(weights.shape()));
  Tensor y = Tensor::empty({offsets.count(), x.dim(1)});
  kernels::segment_weighted_sum_forward(offsets.count(), x.dim(1), offsets.values().data(),
                                        weights.value().data(), x.value().data(), y.data());
  return record<WeightedPoolFunction>(std::move(y), {x, weights}, offsets, x.value(), weights.value());
}

Var attention_pool(const Var& x, const Var& scores, const Offsets& offsets, Tensor* weights) {
  check_pool("attention_pool", x, offsets);
  const Var w = segment_softmax(scores, offsets);
  if (weights != nullptr) *weights = w.value();
  return weighted_pool(x, w, offsets);
}

}  // namespace fovea::autograd
