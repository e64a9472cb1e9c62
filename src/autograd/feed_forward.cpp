#include "fovea/autograd/functions/feed_forward.hpp"

#include "autograd/support.hpp"
#include "fovea/kernels/dropout.hpp"
#include "fovea/kernels/matmul.hpp"
#include "fovea/kernels/reduce.hpp"

namespace fovea::autograd {
namespace {

constexpr const char* kOp = "feed_forward";

// Inputs: x, up, up bias, down, down bias.
class FeedForwardFunction final : public Function {
 public:
  FeedForwardFunction(const FeedForwardOptions& options, Tensor x, Tensor up, Tensor down, Tensor h)
      : options_(options), x_(std::move(x)), up_(std::move(up)), down_(std::move(down)), h_(std::move(h)) {}
  const char* name() const override { return kOp; }

  void backward(Tensor dy) override {
    const int64_t rows = dy.dim(0);
    const int64_t width = down_.dim(1);
    if (needs(4)) sum_columns(4, dy);
    Tensor da = Tensor::empty({rows, width});
    kernels::matmul({.m = rows, .n = width, .k = dy.dim(1)}, dy.data(), down_.data(), da.data());
    drop(da);
    // a takes the place of h or of da, dh that of the other.
    const bool gated = options_.form == FeedForwardForm::kGated;
    if (gated) {
      kernels::glu_backward_with_value(options_.activation, rows, width, h_.data(), da.data(), da.data(),
                                       h_.data());
    } else {
      kernels::activation_backward_with_value(options_.activation, da.numel(), h_.data(), da.data(),
                                              h_.data(), da.data());
    }
    Tensor a = gated ? std::move(da) : std::move(h_);
    Tensor dh = gated ? std::move(h_) : std::move(da);
    if (needs(3)) {
      drop(a);
      outer_product(3, dy, a);
    }
    a = {};
    dy = {};
    if (needs(2)) sum_columns(2, dh);
    if (needs(1)) outer_product(1, dh, x_);
    if (needs(0)) {
      auto [dx, accumulate] = target(0);
      kernels::matmul({.m = rows, .n = up_.dim(1), .k = up_.dim(0), .accumulate = accumulate}, dh.data(),
                      up_.data(), dx.data());
    }
  }

 private:
  void drop(Tensor& t) const {
    if (options_.dropout == 0.0f) return;
    kernels::dropout(t.numel(), options_.dropout, options_.dropout_key, t.data(), t.data());
  }
  // The gradient of a weight: dyᵀ·x.
  void outer_product(int i, const Tensor& dy, const Tensor& x) {
    auto [dw, accumulate] = target(i);
    kernels::matmul(
        {.m = dy.dim(1), .n = x.dim(1), .k = dy.dim(0), .transpose_a = true, .accumulate = accumulate},
        dy.data(), x.data(), dw.data());
  }
  void sum_columns(int i, const Tensor& dy) {
    auto [db, accumulate] = target(i);
    kernels::column_sums(dy.dim(0), dy.dim(1), dy.data(), db.data(), accumulate);
  }

  FeedForwardOptions options_;
  Tensor x_, up_, down_, h_;
};

}  // namespace

Var feed_forward(const Var& x, const Var& up, const Var& up_bias, const Var& down, const Var& down_bias,
                 const FeedForwardOptions& options) {
  check_rank(kOp, "x", x, 2);
  check_rank(kOp, "up", up, 2);
  check_rank(kOp, "down", down, 2);
  const int64_t rows = x.dim(0);
  const int64_t width = down.dim(1);
  const bool gated = options.form == FeedForwardForm::kGated;
  check_argument(up.dim(1) == x.dim(1) && up.dim(0) == (gated ? 2 : 1) * width, kOp,
                 "expected x [T, C], up [{}, C] and down [C', F], got x {}, up {} and down {}",
                 gated ? "2·F" : "F", to_string(x.shape()), to_string(up.shape()), to_string(down.shape()));
  check_optional_vector(kOp, "up bias", up_bias.value(), up.dim(0));
  check_optional_vector(kOp, "down bias", down_bias.value(), down.dim(0));
  check_argument(options.dropout >= 0.0f && options.dropout < 1.0f, kOp,
                 "expected a dropout in [0, 1), got {}", options.dropout);

  Tensor h = Tensor::empty({rows, up.dim(0)});
  kernels::matmul(
      {.m = rows, .n = up.dim(0), .k = x.dim(1), .transpose_b = true, .bias = data_or_null(up_bias.value())},
      x.value().data(), up.value().data(), h.data());
  const bool keep = recording({&x, &up, &up_bias, &down, &down_bias});
  Tensor a = keep || gated ? Tensor::empty({rows, width}) : h;
  if (gated) {
    kernels::glu_forward(options.activation, rows, width, h.data(), a.data());
  } else {
    kernels::activation_forward(options.activation, a.numel(), h.data(), a.data());
  }
  if (!keep) h = {};
  if (options.dropout > 0.0f) {
    kernels::dropout(a.numel(), options.dropout, options.dropout_key, a.data(), a.data());
  }
  Tensor y = Tensor::empty({rows, down.dim(0)});
  kernels::matmul(
      {.m = rows, .n = down.dim(0), .k = width, .transpose_b = true, .bias = data_or_null(down_bias.value())},
      a.data(), down.value().data(), y.data());
  return record<FeedForwardFunction>(std::move(y), {x, up, up_bias, down, down_bias}, options,
                                     up.requires_grad() ? x.value() : Tensor{}, up.value(), down.value(),
                                     std::move(h));
}

}  // namespace fovea::autograd
