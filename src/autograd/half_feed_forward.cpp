// feed_forward whose products read bf16: x, the weights, the hidden values before and after the activation,
// and the gradients of both products' results are rounded to bf16 once each; the activation itself is
// computed in float32. Kept for backward: the hidden values before the activation, in bf16.
#include "autograd/feed_forward_parts.hpp"
#include "autograd/rounded_products.hpp"
#include "autograd/support.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/kernels/dropout.hpp"

namespace fovea::autograd {
namespace {

// Elementwise work goes in pieces whose float32 copies stay in the second-level cache.
int64_t piece_rows(int64_t width) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, width));
}

// Inputs: x, up, up bias, down, down bias.
class HalfFeedForwardFunction final : public Function {
 public:
  HalfFeedForwardFunction(const FeedForwardOptions& options, Tensor x, Tensor up, Tensor down, Tensor h)
      : options_(options), x_(std::move(x)), up_(std::move(up)), down_(std::move(down)), h_(std::move(h)) {}
  using Function::kept;
  const char* name() const override { return "feed_forward"; }

  void backward(Tensor dy) override {
    if (needs(4)) add_columns(4, dy);
    const Tensor d = rounded(dy, Precision::kBFloat16);
    dy = {};
    const bool gated = options_.form == FeedForwardForm::kGated;
    const Tensor x = needs(1) ? rounded(value_of(0, x_), Precision::kBFloat16) : Tensor{};
    Tensor dx;
    bool accumulate = false;
    if (needs(0)) {
      Node::Target t = target(0);
      dx = t.grad;
      accumulate = t.accumulate;
    }
    // The mask of dropout counts elements from the first row: one span then.
    const Spans spans(d.dim(0), whole() ? 0 : up_.dim(0));
    for (int64_t i = 0; i < spans.count; ++i) {
      const int64_t begin = spans.begin(i), rows = spans.begin(i + 1) - begin;
      // Of the two that backward makes, the activations and the hidden gradients, that as wide as the hidden
      // values takes their place.
      Tensor other = Tensor::empty({rows, down_.dim(1)}, DType::kBF16);
      hidden_gradients(begin, rows, d, other, dx, accumulate);
      const Tensor in_place = h_.rows(begin, begin + rows);
      const Tensor& a = gated ? other : in_place;
      const Tensor& dh = gated ? in_place : other;
      if (needs(3)) outer_product(3, d.rows(begin, begin + rows), a);
      if (needs(2)) add_columns(2, dh);
      if (needs(1)) outer_product(1, dh, x.rows(begin, begin + rows));
    }
  }

 private:
  bool whole() const { return options_.dropout > 0.0f; }
  void drop(int64_t n, float* x) const {
    if (whole()) kernels::dropout(n, options_.dropout, options_.dropout_key, x, x);
  }

  // For `rows` rows from `first` on: in place of h and in `other` as backward says; dx as it is.
  void hidden_gradients(int64_t first, int64_t rows, const Tensor& d, Tensor& other, Tensor& dx,
                        bool accumulate) {
    const int64_t width = down_.dim(1), up_width = up_.dim(0), in = up_.dim(1);
    const bool gated = options_.form == FeedForwardForm::kGated;
    Tensor da = Tensor::empty({rows, width});
    multiply_into({.m = rows, .n = width, .k = d.dim(1)}, d.rows(first, first + rows), down_, da);
    drop(rows * width, da.data());
    Tensor hidden = h_.rows(first, first + rows);
    Tensor a = whole() ? Tensor::empty({rows, width}) : Tensor{};  // before its mask
    const int64_t piece = piece_rows(up_width);
    parallel_tasks((rows + piece - 1) / piece, true, [&](int64_t i) {
      const int64_t begin = i * piece, n = std::min(rows, begin + piece) - begin;
      Buffer<float> h(static_cast<size_t>(n * up_width));
      BFloat16* half = hidden.data<BFloat16>() + begin * up_width;
      BFloat16* beside = other.data<BFloat16>() + begin * width;
      float* g = da.data() + begin * width;
      kernels::from_bf16(n * up_width, half, h.data());
      if (gated) {  // the activations take the place of da, the gradients that of h
        kernels::glu_backward_with_value(options_.activation, n, width, h.data(), g, g, h.data());
        kernels::to_bf16(n * up_width, h.data(), half);
        if (!whole()) kernels::to_bf16(n * width, g, beside);
      } else {
        kernels::activation_backward_with_value(options_.activation, n * width, h.data(), g, h.data(), g);
        kernels::to_bf16(n * width, g, beside);
        if (!whole()) kernels::to_bf16(n * width, h.data(), half);
        if (whole()) std::copy_n(h.data(), n * width, a.data() + begin * width);
      }
    });
    if (whole()) {
      Tensor& values = gated ? da : a;
      drop(rows * width, values.data());
      kernels::to_bf16(rows * width, values.data(), (gated ? other : hidden).data<BFloat16>());
    }
    if (!dx.defined()) return;
    Tensor to = dx.rows(first, first + rows);
    multiply_into({.m = rows, .n = in, .k = up_width, .accumulate = accumulate}, gated ? hidden : other, up_,
                  to);
  }
  // The gradient of weight i from these rows: dyᵀ·x.
  void outer_product(int i, const Tensor& dy, const Tensor& x) {
    auto [dw, accumulate] = target(i);
    multiply_into(
        {.m = dw.dim(0), .n = dw.dim(1), .k = dy.dim(0), .transpose_a = true, .accumulate = accumulate}, dy,
        x, dw);
  }
  void add_columns(int i, const Tensor& dy) {
    auto [db, accumulate] = target(i);
    sum_columns(dy, db.data(), accumulate);
  }

  FeedForwardOptions options_;
  Tensor x_, up_, down_, h_;
};

}  // namespace

Var half_feed_forward(const Var& x, const Var& up, const Var& up_bias, const Var& down, const Var& down_bias,
                      const FeedForwardOptions& options) {
  const bool keep = recording({&x, &up, &up_bias, &down, &down_bias});
  const int64_t rows = x.dim(0), in = up.dim(1), up_width = up.dim(0), width = down.dim(1), out = down.dim(0);
  const Tensor x_half = rounded(x.value(), Precision::kBFloat16);
  Tensor up_half = rounded(up.value(), Precision::kBFloat16);
  Tensor down_half = rounded(down.value(), Precision::kBFloat16);
  Tensor h = Tensor::empty({rows, up_width}, DType::kBF16);
  multiply_into(
      {.m = rows, .n = up_width, .k = in, .transpose_b = true, .bias = data_or_null(up_bias.value())}, x_half,
      up_half, h);
  Tensor a = Tensor::empty({rows, width}, DType::kBF16);
  const bool drops = options.dropout > 0.0f;  // its mask counts elements from the first row: one piece
  const int64_t piece = drops ? std::max<int64_t>(1, rows) : piece_rows(up_width);
  parallel_tasks((rows + piece - 1) / piece, true, [&](int64_t i) {
    const int64_t begin = i * piece, n = std::min(rows, begin + piece) - begin;
    Buffer<float> sum(static_cast<size_t>(n * up_width)), value(static_cast<size_t>(n * width));
    kernels::from_bf16(n * up_width, h.data<BFloat16>() + begin * up_width, sum.data());
    if (options.form == FeedForwardForm::kGated) {
      kernels::glu_forward(options.activation, n, width, sum.data(), value.data());
    } else {
      kernels::activation_forward(options.activation, n * width, sum.data(), value.data());
    }
    if (drops) kernels::dropout(n * width, options.dropout, options.dropout_key, value.data(), value.data());
    kernels::to_bf16(n * width, value.data(), a.data<BFloat16>() + begin * width);
  });
  if (!keep) h = {};
  Tensor y = Tensor::empty({rows, out});
  multiply_into(
      {.m = rows, .n = out, .k = width, .transpose_b = true, .bias = data_or_null(down_bias.value())}, a,
      down_half, y);
  if (!keep) return Var(std::move(y));
  Tensor kept = up.requires_grad() ? HalfFeedForwardFunction::kept(x, x_half) : Tensor{};
  return record<HalfFeedForwardFunction>(std::move(y), {x, up, up_bias, down, down_bias}, options,
                                         std::move(kept), std::move(up_half), std::move(down_half),
                                         std::move(h));
}

}  // namespace fovea::autograd
