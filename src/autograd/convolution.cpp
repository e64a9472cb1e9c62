#include "fovea/autograd/functions/convolution.hpp"

#include <vector>

#include "autograd/support.hpp"
#include "fovea/kernels/convolution.hpp"
#include "fovea/kernels/matmul.hpp"
#include "fovea/kernels/reduce.hpp"

namespace fovea::autograd {
namespace {

kernels::Window window_of(const char* op, int64_t width, const Conv1dOptions& o) {
  check_argument(width >= 1 && o.stride >= 1 && o.dilation >= 1 && o.pad_left >= 0 && o.pad_right >= 0, op,
                 "expected width, stride and dilation >= 1 and pads >= 0, got {}, {}, {}, {}, {}", width,
                 o.stride, o.dilation, o.pad_left, o.pad_right);
  return {.width = width,
          .stride = o.stride,
          .dilation = o.dilation,
          .pad_left = o.pad_left,
          .pad_right = o.pad_right};
}

// A window of one token in place is the token itself: nothing to unfold.
bool is_identity(const kernels::Window& w) {
  return w.width == 1 && w.stride == 1 && w.pad_left == 0 && w.pad_right == 0;
}

class Conv1dFunction final : public Function {
 public:
  Conv1dFunction(Tensor x, Tensor weight, Offsets offsets, Offsets out_offsets, const kernels::Window& window)
      : x_(std::move(x)),
        weight_(std::move(weight)),
        offsets_(std::move(offsets)),
        out_offsets_(std::move(out_offsets)),
        window_(window) {}
  const char* name() const override { return "conv1d"; }

  static Tensor unfolded(const Tensor& x, const kernels::Window& window, const Offsets& in,
                         const Offsets& out) {
    if (is_identity(window)) return x;
    const int64_t channels = x.dim(1);
    Tensor rows = Tensor::empty({out.total(), window.width * channels});
    kernels::unfold(window, in.count(), in.values().data(), out.values().data(), channels, x.data(),
                    rows.data());
    return rows;
  }

  void backward(Tensor dy) override {
    const int64_t rows = dy.dim(0);
    const int64_t out = dy.dim(1);
    const int64_t columns = weight_.dim(1) * weight_.dim(2);
    if (needs(1)) {
      const Tensor windows = unfolded(x_, window_, offsets_, out_offsets_);
      auto [dw, accumulate] = target(1);
      kernels::matmul({.m = out, .n = columns, .k = rows, .transpose_a = true, .accumulate = accumulate},
                      dy.data(), windows.data(), dw.data());
    }
    if (needs(2)) {
      auto [db, accumulate] = target(2);
      kernels::column_sums(rows, out, dy.data(), db.data(), accumulate);
    }
    if (needs(0)) {
      Tensor dwindows = Tensor::empty({rows, columns});
      kernels::matmul({.m = rows, .n = columns, .k = out}, dy.data(), weight_.data(), dwindows.data());
      if (is_identity(window_)) {
        give(0, std::move(dwindows));
        return;
      }
      auto [dx, accumulate] = target(0);
      kernels::fold(window_, offsets_.count(), offsets_.values().data(), out_offsets_.values().data(),
                    x_.dim(1), dwindows.data(), dx.data(), accumulate);
    }
  }

 private:
  Tensor x_, weight_;
  Offsets offsets_, out_offsets_;
  kernels::Window window_;
};

class Conv2dFunction final : public Function {
 public:
  Conv2dFunction(const kernels::Convolution2d& spec, Tensor x, Tensor weight)
      : spec_(spec), x_(std::move(x)), weight_(std::move(weight)) {}
  const char* name() const override { return "conv2d"; }
  void backward(Tensor dy) override {
    Tensor dx;
    if (needs(0)) dx = Tensor::empty(x_.shape());
    // The kernel has one accumulate flag for both: gradients that are not both fresh are made apart.
    Tensor dw;
    Tensor db;
    if (needs(1)) dw = Tensor::empty(weight_.shape());
    if (needs(2)) db = Tensor::empty({spec_.out_channels});
    kernels::conv2d_backward(spec_, x_.data(), weight_.data(), dy.data(), dx.defined() ? dx.data() : nullptr,
                             dw.defined() ? dw.data() : nullptr, db.defined() ? db.data() : nullptr);
    if (needs(0)) give(0, std::move(dx));
    if (needs(1)) give(1, std::move(dw));
    if (needs(2)) give(2, std::move(db));
  }

 private:
  kernels::Convolution2d spec_;
  Tensor x_, weight_;
};

class MaxPool2dFunction final : public Function {
 public:
  MaxPool2dFunction(const kernels::Convolution2d& spec, Tensor argmax)
      : spec_(spec), argmax_(std::move(argmax)) {}
  const char* name() const override { return "max_pool2d"; }
  void backward(Tensor dy) override {
    Tensor dx = Tensor::empty({spec_.batch, spec_.height, spec_.width, spec_.in_channels});
    kernels::max_pool2d_backward(spec_, dy.data(), argmax_.data<int32_t>(), dx.data());
    give(0, std::move(dx));
  }

 private:
  kernels::Convolution2d spec_;
  Tensor argmax_;
};

kernels::Convolution2d image_spec(const char* op, const Var& x, int64_t kernel_h, int64_t kernel_w,
                                  const Conv2dOptions& o) {
  check_rank(op, "x", x, 4);
  check_argument(
      kernel_h >= 1 && kernel_w >= 1 && o.stride_h >= 1 && o.stride_w >= 1 && o.pad_h >= 0 && o.pad_w >= 0,
      op, "expected kernel and stride >= 1 and pads >= 0, got {} × {}, {} × {}, {} × {}", kernel_h, kernel_w,
      o.stride_h, o.stride_w, o.pad_h, o.pad_w);
  check_argument(x.dim(1) + 2 * o.pad_h >= kernel_h && x.dim(2) + 2 * o.pad_w >= kernel_w, op,
                 "expected images of at least {} × {} with their pads, got {}", kernel_h, kernel_w,
                 to_string(x.shape()));
  return {.batch = x.dim(0),
          .height = x.dim(1),
          .width = x.dim(2),
          .in_channels = x.dim(3),
          .kernel_h = kernel_h,
          .kernel_w = kernel_w,
          .stride_h = o.stride_h,
          .stride_w = o.stride_w,
          .pad_h = o.pad_h,
          .pad_w = o.pad_w};
}

}  // namespace

Offsets Conv1dOptions::out_offsets(const Offsets& offsets, int64_t width) const {
  const kernels::Window window = window_of("conv1d", width, *this);
  if (stride == 1 && pad_left + pad_right == dilation * (width - 1)) return offsets;
  std::vector<int64_t> ends{0};
  ends.reserve(static_cast<size_t>(offsets.count()) + 1);
  for (int64_t n = 0; n < offsets.count(); ++n) {
    ends.push_back(ends.back() + kernels::window_count(window, offsets.length(n)));
  }
  return Offsets(std::move(ends));
}

Var conv1d(const Var& x, const Var& weight, const Var& b, const Offsets& offsets, const Offsets& out_offsets,
           const Conv1dOptions& options) {
  check_rank("conv1d", "x", x, 2);
  check_rank("conv1d", "weight", weight, 3);
  const int64_t out = weight.dim(0);
  const int64_t in = weight.dim(2);
  check_argument(x.dim(1) == in, "conv1d", "expected x of shape [T, {}], got {}", in, to_string(x.shape()));
  check_optional_vector("conv1d", "b", b.value(), out);
  check_offsets("conv1d", offsets, x.dim(0));
  const kernels::Window window = window_of("conv1d", weight.dim(1), options);
  check_argument(out_offsets.count() == offsets.count(), "conv1d",
                 "expected output offsets of {} sequences, got {}", offsets.count(), out_offsets.count());
  for (int64_t n = 0; n < offsets.count(); ++n) {
    check_argument(out_offsets.length(n) == kernels::window_count(window, offsets.length(n)), "conv1d",
                   "expected {} windows of sequence {}, got {}; take the offsets from the options",
                   kernels::window_count(window, offsets.length(n)), n, out_offsets.length(n));
  }
  Tensor y = Tensor::empty({out_offsets.total(), out});
  {
    const Tensor windows = Conv1dFunction::unfolded(x.value(), window, offsets, out_offsets);
    kernels::matmul({.m = out_offsets.total(),
                     .n = out,
                     .k = window.width * in,
                     .transpose_b = true,
                     .bias = data_or_null(b.value())},
                    windows.data(), weight.value().data(), y.data());
  }
  if (!recording({&x, &weight, &b})) return Var(std::move(y));
  return record<Conv1dFunction>(std::move(y), {x, weight, b}, x.value(), weight.value(), offsets, out_offsets,
                                window);
}

Var conv2d(const Var& x, const Var& weight, const Var& b, const Conv2dOptions& options) {
  check_rank("conv2d", "weight", weight, 4);
  kernels::Convolution2d spec = image_spec("conv2d", x, weight.dim(2), weight.dim(3), options);
  spec.out_channels = weight.dim(0);
  check_argument(weight.dim(1) == spec.in_channels, "conv2d",
                 "expected weight of shape [out, {}, kh, kw], got {}", spec.in_channels,
                 to_string(weight.shape()));
  check_optional_vector("conv2d", "b", b.value(), spec.out_channels);
  Tensor y = Tensor::empty({spec.batch, spec.out_height(), spec.out_width(), spec.out_channels});
  kernels::conv2d_forward(spec, x.value().data(), weight.value().data(), data_or_null(b.value()), y.data());
  if (!recording({&x, &weight, &b})) return Var(std::move(y));
  return record<Conv2dFunction>(std::move(y), {x, weight, b}, spec, x.value(), weight.value());
}

Var max_pool2d(const Var& x, int64_t kernel_h, int64_t kernel_w, const Conv2dOptions& options) {
  kernels::Convolution2d spec = image_spec("max_pool2d", x, kernel_h, kernel_w, options);
  check_argument(options.pad_h < kernel_h && options.pad_w < kernel_w, "max_pool2d",
                 "expected pads smaller than the window, got {} × {}", options.pad_h, options.pad_w);
  spec.out_channels = spec.in_channels;
  const Shape shape{spec.batch, spec.out_height(), spec.out_width(), spec.in_channels};
  Tensor y = Tensor::empty(shape);
  Tensor argmax = Tensor::empty(shape, DType::kI32);
  kernels::max_pool2d_forward(spec, x.value().data(), y.data(), argmax.data<int32_t>());
  if (!recording({&x})) return Var(std::move(y));
  return record<MaxPool2dFunction>(std::move(y), {x}, spec, std::move(argmax));
}

}  // namespace fovea::autograd
