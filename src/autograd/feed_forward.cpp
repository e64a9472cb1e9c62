#include "fovea/autograd/functions/feed_forward.hpp"

#include <optional>

#include "autograd/feed_forward_parts.hpp"
#include "autograd/support.hpp"
#include "autograd/turned.hpp"
#include "fovea/autograd/precision.hpp"
#include "fovea/base/parallel.hpp"
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
  using Function::kept;
  const char* name() const override { return kOp; }

  void backward(Tensor dy) override {
    if (needs(4)) sum_columns(4, dy.dim(0), dy.dim(1), dy.data());
    const bool gated = options_.form == FeedForwardForm::kGated;
    const Tensor x = needs(1) ? value_of(0, x_) : Tensor{};
    Tensor dx;
    bool accumulate = false;
    if (needs(0)) {
      Node::Target t = target(0);
      dx = t.grad;
      accumulate = t.accumulate;
    }
    // The mask of dropout counts elements from the first row: one span and one chunk then.
    const bool whole = options_.dropout > 0.0f;
    const Spans spans(dy.dim(0), whole ? 0 : up_.dim(0));
    for (int64_t i = 0; i < spans.count; ++i) {
      const int64_t begin = spans.begin(i);
      const int64_t rows = spans.begin(i + 1) - begin;
      Buffer<float> da(static_cast<size_t>(rows * down_.dim(1)));
      hidden_gradients(begin, rows, whole, dy, da.data(), dx, accumulate);
      float* h = h_.data() + begin * up_.dim(0);
      float* a = gated ? da.data() : h;
      const float* dh = gated ? h : da.data();
      if (needs(3)) {
        drop(rows * down_.dim(1), a);
        outer_product(3, rows, dy.data() + begin * dy.dim(1), a);
      }
      if (needs(2)) sum_columns(2, rows, up_.dim(0), dh);
      if (needs(1)) outer_product(1, rows, dh, x.data() + begin * x.dim(1));
    }
  }

 private:
  // For `rows` rows from `first` on: a takes the place of h or of da, dh that of the other; dx as it is.
  void hidden_gradients(int64_t first, int64_t rows, bool whole, const Tensor& dy, float* da, Tensor& dx,
                        bool accumulate) {
    const int64_t width = down_.dim(1);
    const int64_t out = dy.dim(1);
    const int64_t up_width = up_.dim(0);
    const int64_t in = up_.dim(1);
    const Chunks chunks(rows, whole ? 0 : up_width);
    parallel_tasks(chunks.count, true, [&](int64_t i) {
      const int64_t begin = chunks.begin(i);
      const int64_t n = chunks.begin(i + 1) - begin;
      float* g = da + begin * width;
      float* h = h_.data() + (first + begin) * up_width;
      kernels::matmul({.m = n, .n = width, .k = out}, dy.data() + (first + begin) * out, down_.data(), g);
      drop(n * width, g);
      const bool gated = options_.form == FeedForwardForm::kGated;
      if (gated) {
        kernels::glu_backward_with_value(options_.activation, n, width, h, g, g, h);
      } else {
        kernels::activation_backward_with_value(options_.activation, n * width, h, g, h, g);
      }
      if (!dx.defined()) return;
      kernels::matmul({.m = n, .n = in, .k = up_width, .accumulate = accumulate}, gated ? h : g, up_.data(),
                      dx.data() + (first + begin) * in);
    });
  }
  void drop(int64_t n, float* x) const {
    if (options_.dropout > 0.0f) kernels::dropout(n, options_.dropout, options_.dropout_key, x, x);
  }
  // The gradient of weight i from these rows: dyᵀ·x.
  void outer_product(int i, int64_t rows, const float* dy, const float* x) {
    auto [dw, accumulate] = target(i);
    kernels::matmul(
        {.m = dw.dim(0), .n = dw.dim(1), .k = rows, .transpose_a = true, .accumulate = accumulate}, dy, x,
        dw.data());
  }
  void sum_columns(int i, int64_t rows, int64_t columns, const float* dy) {
    auto [db, accumulate] = target(i);
    kernels::column_sums(rows, columns, dy, db.data(), accumulate);
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

  if (current_precision() == Precision::kBFloat16)
    return half_feed_forward(x, up, up_bias, down, down_bias, options);
  const bool keep = recording({&x, &up, &up_bias, &down, &down_bias});
  const int64_t up_width = up.dim(0);
  const int64_t in = x.dim(1);
  const int64_t out = down.dim(0);
  Tensor h = keep ? Tensor::empty({rows, up_width}) : Tensor{};
  Tensor y = Tensor::empty({rows, out});
  const Chunks chunks(rows, options.dropout > 0.0f ? 0 : up_width);
  // Many rows share a weight that was turned round once; few leave that to the product.
  const bool turns = chunks.count > 1;
  const std::optional<Turned> up_turned = turns ? std::optional<Turned>(up.value()) : std::nullopt;
  const std::optional<Turned> down_turned = turns ? std::optional<Turned>(down.value()) : std::nullopt;
  const auto product = [](const Tensor& weight, const std::optional<Turned>& turned, const Tensor& bias,
                          int64_t n, const float* from, float* to) {
    kernels::matmul({.m = n,
                     .n = weight.dim(0),
                     .k = weight.dim(1),
                     .transpose_b = !turned,
                     .ldb = turned ? turned->stride : 0,
                     .bias = data_or_null(bias)},
                    from, turned ? turned->data.data() : weight.data(), to);
  };
  parallel_tasks(chunks.count, true, [&](int64_t i) {
    const int64_t begin = chunks.begin(i);
    const int64_t n = chunks.begin(i + 1) - begin;
    Buffer<float> a(static_cast<size_t>(n * width));
    Buffer<float> unkept(static_cast<size_t>(keep ? 0 : n * up_width));
    float* sum = keep ? h.data() + begin * up_width : unkept.data();
    product(up.value(), up_turned, up_bias.value(), n, x.value().data() + begin * in, sum);
    if (gated) {
      kernels::glu_forward(options.activation, n, width, sum, a.data());
    } else {
      kernels::activation_forward(options.activation, n * width, sum, a.data());
    }
    if (options.dropout > 0.0f) {
      kernels::dropout(n * width, options.dropout, options.dropout_key, a.data(), a.data());
    }
    product(down.value(), down_turned, down_bias.value(), n, a.data(), y.data() + begin * out);
  });
  return record<FeedForwardFunction>(std::move(y), {x, up, up_bias, down, down_bias}, options,
                                     up.requires_grad() ? FeedForwardFunction::kept(x, x.value()) : Tensor{},
                                     up.value(), down.value(), std::move(h));
}

}  // namespace fovea::autograd
