#include <algorithm>

#include "autograd/support.hpp"
#include "fovea/autograd/functions/losses.hpp"
#include "fovea/kernels/elementwise.hpp"
#include "fovea/kernels/matmul.hpp"
#include "fovea/kernels/reduce.hpp"
#include "fovea/kernels/softmax.hpp"

namespace fovea::autograd {
namespace {

kernels::CrossEntropy kernel_spec(const CrossEntropyOptions& options, int64_t rows, int64_t classes) {
  return {rows, classes, options.label_smoothing, data_or_null(options.class_weights), options.ignore_index};
}

void check_options(const char* op, const CrossEntropyOptions& options, int64_t classes) {
  check_argument(options.label_smoothing >= 0.0f && options.label_smoothing < 1.0f, op,
                 "expected label smoothing in [0, 1), got {}", options.label_smoothing);
  check_optional_vector(op, "class weights", options.class_weights, classes);
}

template <class Id>
void check_targets(const char* op, const Id* targets, int64_t n, int64_t classes, int64_t ignore) {
  for (int64_t i = 0; i < n; ++i) {
    if ((targets[i] < 0 || targets[i] >= classes) && targets[i] != ignore) [[unlikely]] {
      throw_argument(op, "expected targets in [0, {}) or {} (ignored), got {} at {}", classes, ignore,
                     static_cast<int64_t>(targets[i]), i);
    }
  }
}

// What the sum of the rows is multiplied by.
double reduction_factor(Reduction reduction, double weight) {
  if (reduction != Reduction::kMean) return 1.0;
  return weight > 0.0 ? 1.0 / weight : 0.0;
}

class CrossEntropyFunction final : public Function {
 public:
  CrossEntropyFunction(CrossEntropyOptions options, Tensor logits, Tensor targets, Tensor lse, double factor)
      : options_(std::move(options)),
        logits_(std::move(logits)),
        targets_(std::move(targets)),
        lse_(std::move(lse)),
        factor_(factor) {}
  const char* name() const override { return "cross_entropy"; }
  void backward(Tensor dy) override {
    const auto spec = kernel_spec(options_, logits_.dim(0), logits_.dim(1));
    const bool rows = options_.reduction == Reduction::kNone;
    const float scale = rows ? 1.0f : static_cast<float>(factor_ * static_cast<double>(dy.data()[0]));
    Reused dx = reuse(logits_);
    with_indices("cross_entropy", "targets", targets_, -1, [&](const auto* targets) {
      kernels::cross_entropy_backward(spec, dx.from(), targets, lse_.data(), scale,
                                      rows ? dy.data() : nullptr, dx.out.data());
    });
    give(0, std::move(dx.out));
  }

 private:
  CrossEntropyOptions options_;
  Tensor logits_, targets_, lse_;
  double factor_;
};

// The gradients of the mean or sum, made in the forward pass; backward only scales them.
class LinearCrossEntropyFunction final : public Function {
 public:
  LinearCrossEntropyFunction(Tensor dx, Tensor dw, Tensor db, double factor)
      : grads_{std::move(dx), std::move(dw), std::move(db)}, factor_(factor) {}
  const char* name() const override { return "linear_cross_entropy"; }
  void backward(Tensor dy) override {
    const auto scale = static_cast<float>(factor_ * static_cast<double>(dy.data()[0]));
    for (int i = 0; i < 3; ++i) {
      if (!needs(i)) continue;
      Tensor grad = std::move(grads_[static_cast<size_t>(i)]);
      if (fresh(i)) {
        kernels::scale(grad.numel(), scale, grad.data(), grad.data());
        give(i, std::move(grad));
        continue;
      }
      auto [sum, accumulate] = target(i);
      if (accumulate) {
        kernels::axpy(grad.numel(), scale, grad.data(), sum.data());
      } else {
        kernels::scale(grad.numel(), scale, grad.data(), sum.data());
      }
    }
  }

 private:
  std::array<Tensor, 3> grads_;
  double factor_;
};

// Rows whose logits are held at once: about 4 MB of them, so that they stay in the outer cache, yet enough
// rows that the products run near their peak and the weight's gradient is not read and written too often.
// From shapes alone.
int64_t chunk_rows(int64_t classes) {
  constexpr int64_t kElements = 1 << 20;
  constexpr int64_t kLeast = 128;
  return std::max(kLeast, kElements / std::max<int64_t>(classes, 1) / 64 * 64);
}

}  // namespace

Var cross_entropy(Var logits, const Tensor& targets, const CrossEntropyOptions& options) {
  check_rank("cross_entropy", "logits", logits, 2);
  const int64_t rows = logits.dim(0);
  const int64_t classes = logits.dim(1);
  check_options("cross_entropy", options, classes);
  const auto spec = kernel_spec(options, rows, classes);
  const bool none = options.reduction == Reduction::kNone;
  Tensor loss = Tensor::empty({rows});
  Tensor lse = Tensor::empty({rows});
  double factor = 1.0;
  with_indices("cross_entropy", "targets", targets, rows, [&](const auto* index) {
    check_targets("cross_entropy", index, rows, classes, options.ignore_index);
    kernels::cross_entropy_forward(spec, logits.value().data(), index, loss.data(), lse.data());
    if (!none) factor = reduction_factor(options.reduction, kernels::cross_entropy_weight(spec, index));
  });
  if (!none) loss = Tensor::full({1}, factor * kernels::sum(rows, loss.data()));
  return record<CrossEntropyFunction>(std::move(loss), {logits}, options, std::move(logits.value()), targets,
                                      std::move(lse), factor);
}

Var linear_cross_entropy(const Var& hidden, const Var& weight, const Var& bias, const Tensor& targets,
                         const CrossEntropyOptions& options) {
  constexpr const char* kOp = "linear_cross_entropy";
  check_rank(kOp, "hidden", hidden, 2);
  check_rank(kOp, "weight", weight, 2);
  const int64_t rows = hidden.dim(0);
  const int64_t width = hidden.dim(1);
  const int64_t classes = weight.dim(0);
  check_argument(weight.dim(1) == width, kOp,
                 "expected hidden [T, C] and weight [V, C], got hidden {} and weight {}",
                 to_string(hidden.shape()), to_string(weight.shape()));
  check_optional_vector(kOp, "bias", bias.value(), classes);
  check_options(kOp, options, classes);
  check_argument(options.reduction != Reduction::kNone, kOp,
                 "expected the reduction kMean or kSum, got kNone");

  const bool wanted = recording({&hidden, &weight, &bias});
  const auto grad = [&](const Var& v) {
    return wanted && v.requires_grad() ? Tensor::empty(v.shape()) : Tensor{};
  };
  Tensor dx = grad(hidden);
  Tensor dw = grad(weight);
  Tensor db = grad(bias);
  if (rows == 0) {
    if (dw.defined()) dw.fill(0);
    if (db.defined()) db.fill(0);
  }
  const int64_t chunk = chunk_rows(classes);
  Buffer<float> logits(static_cast<size_t>(std::min(chunk, rows) * classes));
  Buffer<float> loss(static_cast<size_t>(rows));
  double factor = 1.0;
  with_indices(kOp, "targets", targets, rows, [&](const auto* index) {
    check_targets(kOp, index, rows, classes, options.ignore_index);
    factor = reduction_factor(options.reduction,
                              kernels::cross_entropy_weight(kernel_spec(options, rows, classes), index));
    for (int64_t begin = 0; begin < rows; begin += chunk) {
      const int64_t n = std::min(chunk, rows - begin);
      const auto spec = kernel_spec(options, n, classes);
      const float* x = hidden.value().data() + begin * width;
      kernels::matmul(
          {.m = n, .n = classes, .k = width, .transpose_b = true, .bias = data_or_null(bias.value())}, x,
          weight.value().data(), logits.data());
      if (!wanted) {
        kernels::cross_entropy_forward(spec, logits.data(), index + begin, loss.data() + begin, nullptr);
        continue;
      }
      kernels::cross_entropy_forward_backward(spec, logits.data(), index + begin, 1.0f, loss.data() + begin,
                                              logits.data());
      if (dx.defined()) {
        kernels::matmul({.m = n, .n = width, .k = classes}, logits.data(), weight.value().data(),
                        dx.data() + begin * width);
      }
      if (dw.defined()) {
        kernels::matmul({.m = classes, .n = width, .k = n, .transpose_a = true, .accumulate = begin > 0},
                        logits.data(), x, dw.data());
      }
      if (db.defined()) kernels::column_sums(n, classes, logits.data(), db.data(), begin > 0);
    }
  });
  return record<LinearCrossEntropyFunction>(Tensor::full({1}, factor * kernels::sum(rows, loss.data())),
                                            {hidden, weight, bias}, std::move(dx), std::move(dw),
                                            std::move(db), factor);
}

}  // namespace fovea::autograd
