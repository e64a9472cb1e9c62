#include "fovea/autograd/functions/arithmetic.hpp"

#include "autograd/support.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/reduce.hpp"

namespace fovea::autograd {
namespace {

class AddFunction final : public Function {
 public:
  explicit AddFunction(bool row) : row_(row) {}
  const char* name() const override { return "add"; }
  void backward(Tensor dy) override {
    if (needs(1)) {
      if (row_) {
        auto [db, accumulate] = target(1);
        kernels::column_sums(dy.dim(0), dy.dim(1), dy.data(), db.data(), accumulate);
      } else {
        give(1, dy);
      }
    }
    if (needs(0)) give(0, std::move(dy));
  }

 private:
  bool row_;
};

class SubtractFunction final : public Function {
 public:
  const char* name() const override { return "subtract"; }
  void backward(Tensor dy) override {
    if (needs(1)) {
      auto [db, accumulate] = target(1);
      if (accumulate) {
        kernels::axpy(dy.numel(), -1.0f, dy.data(), db.data());
      } else {
        kernels::scale(dy.numel(), -1.0f, dy.data(), db.data());
      }
    }
    if (needs(0)) give(0, std::move(dy));
  }
};

class MultiplyFunction final : public Function {
 public:
  MultiplyFunction(Tensor a, Tensor b) : a_(std::move(a)), b_(std::move(b)) {}
  const char* name() const override { return "multiply"; }
  void backward(Tensor dy) override {
    if (needs(0)) times(0, dy, b_);
    if (needs(1)) times(1, dy, a_);
  }

 private:
  void times(int i, const Tensor& dy, const Tensor& other) {
    auto [dx, accumulate] = target(i);
    if (accumulate) {
      kernels::multiply_add(dy.numel(), dy.data(), other.data(), dx.data());
    } else {
      kernels::multiply(dy.numel(), dy.data(), other.data(), dx.data());
    }
  }
  Tensor a_, b_;
};

// y[t, c] = a[t, c]·b[c]
class ScaleColumnsFunction final : public Function {
 public:
  ScaleColumnsFunction(Tensor a, Tensor b) : a_(std::move(a)), b_(std::move(b)) {}
  const char* name() const override { return "scale_columns"; }
  void backward(Tensor dy) override {
    const int64_t rows = dy.dim(0);
    const int64_t cols = dy.dim(1);
    if (needs(1)) {
      Tensor products = Tensor::empty(dy.shape());
      kernels::multiply(dy.numel(), dy.data(), a_.data(), products.data());
      auto [db, accumulate] = target(1);
      kernels::column_sums(rows, cols, products.data(), db.data(), accumulate);
    }
    if (needs(0)) {
      Reused dx = reuse(dy);
      kernels::scale_columns(rows, cols, dx.from(), b_.data(), dx.out.data());
      give(0, std::move(dx.out));
    }
  }

 private:
  Tensor a_, b_;
};

class ScaleRowsFunction final : public Function {
 public:
  ScaleRowsFunction(Tensor x, Tensor weights) : x_(std::move(x)), weights_(std::move(weights)) {}
  const char* name() const override { return "scale_rows"; }
  void backward(Tensor dy) override {
    const int64_t rows = dy.dim(0);
    const int64_t cols = dy.dim(1);
    if (needs(1)) {
      Tensor dw = Tensor::empty({rows});
      kernels::row_dots(rows, cols, x_.data(), dy.data(), dw.data());
      give(1, std::move(dw));
    }
    if (needs(0)) {
      Reused dx = reuse(dy);
      kernels::scale_rows(rows, cols, dx.from(), weights_.data(), dx.out.data());
      give(0, std::move(dx.out));
    }
  }

 private:
  Tensor x_, weights_;
};

class ScaleFunction final : public Function {
 public:
  explicit ScaleFunction(float alpha) : alpha_(alpha) {}
  const char* name() const override { return "scale"; }
  void backward(Tensor dy) override {
    if (!dy.unique() || !fresh(0)) {
      auto [dx, accumulate] = target(0);
      if (accumulate) {
        kernels::axpy(dy.numel(), alpha_, dy.data(), dx.data());
      } else {
        kernels::scale(dy.numel(), alpha_, dy.data(), dx.data());
      }
      return;
    }
    kernels::scale(dy.numel(), alpha_, dy.data(), dy.data());
    give(0, std::move(dy));
  }

 private:
  float alpha_;
};

// y = factor·Σ x
class SumFunction final : public Function {
 public:
  SumFunction(const Shape& shape, double factor) : shape_(shape), factor_(factor) {}
  const char* name() const override { return "sum"; }
  void backward(Tensor dy) override {
    give(0, Tensor::full(shape_, factor_ * static_cast<double>(dy.data()[0])));
  }

 private:
  Shape shape_;
  double factor_;
};

Var scaled_sum(const Var& x, double factor) {
  Tensor y = Tensor::full({1}, factor * kernels::sum(x.numel(), x.value().data()));
  return record<SumFunction>(std::move(y), {x}, x.shape(), factor);
}

bool is_row_of(const Var& b, const Var& a) {
  return a.shape().rank() == 2 && b.shape().rank() == 1 && a.dim(1) == b.dim(0);
}

void check_binary(const char* op, const Var& a, const Var& b) {
  check_f32(op, "both inputs", a.value());
  check_f32(op, "both inputs", b.value());
  check_argument(a.shape() == b.shape() || is_row_of(b, a), op,
                 "expected b of a's shape or one row of it, got {} and {}", to_string(a.shape()),
                 to_string(b.shape()));
}

}  // namespace

Var add(Var a, const Var& b) {
  check_binary("add", a, b);
  const bool row = a.shape() != b.shape();
  Reused y = reuse(a.value());
  if (row) {
    kernels::add_row(y.out.dim(0), y.out.dim(1), y.from(), b.value().data(), y.out.data());
  } else {
    kernels::add(y.out.numel(), y.from(), b.value().data(), y.out.data());
  }
  return record<AddFunction>(std::move(y.out), {a, b}, row);
}

Var subtract(Var a, const Var& b) {
  check_same_shape("subtract", a, b);
  Reused y = reuse(a.value());
  kernels::subtract(y.out.numel(), y.from(), b.value().data(), y.out.data());
  return record<SubtractFunction>(std::move(y.out), {a, b});
}

Var multiply(const Var& a, const Var& b) {
  check_binary("multiply", a, b);
  Tensor y = Tensor::empty(a.shape());
  const Tensor kept_a = b.requires_grad() ? a.value() : Tensor{};
  const Tensor kept_b = a.requires_grad() ? b.value() : Tensor{};
  if (a.shape() == b.shape()) {
    kernels::multiply(y.numel(), a.value().data(), b.value().data(), y.data());
    return record<MultiplyFunction>(std::move(y), {a, b}, kept_a, kept_b);
  }
  kernels::scale_columns(y.dim(0), y.dim(1), a.value().data(), b.value().data(), y.data());
  return record<ScaleColumnsFunction>(std::move(y), {a, b}, kept_a, kept_b);
}

Var scale(Var x, float alpha) {
  check_f32("scale", "x", x.value());
  Reused y = reuse(x.value());
  kernels::scale(y.out.numel(), alpha, y.from(), y.out.data());
  return record<ScaleFunction>(std::move(y.out), {x}, alpha);
}

Var scale_rows(const Var& x, const Var& weights) {
  check_rank("scale_rows", "x", x, 2);
  check_rank("scale_rows", "weights", weights, 1);
  check_argument(weights.dim(0) == x.dim(0), "scale_rows",
                 "expected one weight a row, got x {} and weights {}", to_string(x.shape()),
                 to_string(weights.shape()));
  Tensor y = Tensor::empty(x.shape());
  kernels::scale_rows(x.dim(0), x.dim(1), x.value().data(), weights.value().data(), y.data());
  return record<ScaleRowsFunction>(std::move(y), {x, weights}, weights.requires_grad() ? x.value() : Tensor{},
                                   x.requires_grad() ? weights.value() : Tensor{});
}

Var sum(const Var& x) {
  check_f32("sum", "x", x.value());
  return scaled_sum(x, 1.0);
}

Var mean(const Var& x) {
  check_f32("mean", "x", x.value());
  return scaled_sum(x, x.numel() == 0 ? 0.0 : 1.0 / static_cast<double>(x.numel()));
}

}  // namespace fovea::autograd
