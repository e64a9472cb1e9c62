#include "fovea/autograd/functions/losses.hpp"

#include <cmath>

#include "autograd/support.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/kernels/elementwise.hpp"

namespace fovea::autograd {
namespace {

// A loss of one prediction and one target: its value and its derivative by the prediction. `column` counts
// within the last dimension.
struct Binary {
  const float* positive_weights;  // null: 1
  // −w·t·log σ(x) − (1−t)·log(1−σ(x)) with log σ(−x) = −log(1 + e^x), written so that no exponential
  // overflows.
  float value(float x, float t, int64_t column) const {
    const float w = positive_weights == nullptr ? 1.0f : positive_weights[column];
    const float tail = std::log1p(std::exp(-std::fabs(x)));
    return w * t * (tail + std::fmax(-x, 0.0f)) + (1.0f - t) * (tail + std::fmax(x, 0.0f));
  }
  float slope(float x, float t, int64_t column) const {
    const float w = positive_weights == nullptr ? 1.0f : positive_weights[column];
    const float e = std::exp(-std::fabs(x));
    const float p = (x >= 0.0f ? 1.0f : e) / (1.0f + e);  // σ(x)
    const float q = (x >= 0.0f ? e : 1.0f) / (1.0f + e);  // σ(−x)
    return (1.0f - t) * p - w * t * q;
  }
};

struct Squared {
  float value(float x, float t, int64_t) const { return (x - t) * (x - t); }
  float slope(float x, float t, int64_t) const { return 2.0f * (x - t); }
};

struct Huber {
  float delta;
  float value(float x, float t, int64_t) const {
    const float d = std::fabs(x - t);
    return d <= delta ? 0.5f * d * d : delta * (d - 0.5f * delta);
  }
  float slope(float x, float t, int64_t) const { return std::fmin(std::fmax(x - t, -delta), delta); }
};

constexpr int64_t kChunk = 4096;  // elements summed by one thread; fixed, so that the sum has the same bits

template <class Loss>
class PointwiseFunction final : public Function {
 public:
  PointwiseFunction(const char* name, Loss loss, Tensor x, Tensor targets, Tensor kept, Reduction reduction,
                    double factor)
      : name_(name),
        loss_(loss),
        x_(std::move(x)),
        targets_(std::move(targets)),
        kept_(std::move(kept)),
        reduction_(reduction),
        factor_(factor) {}
  const char* name() const override { return name_; }
  void backward(Tensor dy) override {
    Tensor dx = Tensor::empty(x_.shape());
    const bool none = reduction_ == Reduction::kNone;
    const float scale = none ? 1.0f : static_cast<float>(factor_ * static_cast<double>(dy.data()[0]));
    const int64_t cols = x_.rank() == 2 ? x_.dim(1) : 1;
    const float* x = x_.data();
    const float* t = targets_.data();
    const float* each = none ? dy.data() : nullptr;
    float* out = dx.data();
    parallel_for(x_.numel(), kChunk, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float upstream = none ? each[i] : scale;
        out[i] = std::isnan(t[i]) ? 0.0f : upstream * loss_.slope(x[i], t[i], i % cols);
      }
    });
    give(0, std::move(dx));
  }

 private:
  const char* name_;
  Loss loss_;
  Tensor x_, targets_, kept_;  // kept_: what loss_ points into
  Reduction reduction_;
  double factor_;
};

template <class Loss>
Var pointwise(const char* op, const Var& x, const Tensor& targets, Reduction reduction, Loss loss,
              Tensor kept = {}) {
  check_f32(op, "x", x.value());
  check_f32(op, "targets", targets);
  check_argument(x.shape() == targets.shape() && x.shape().rank() >= 1 && x.shape().rank() <= 2, op,
                 "expected x and targets of one shape [T] or [T, C], got {} and {}", to_string(x.shape()),
                 to_string(targets.shape()));
  const int64_t n = x.numel();
  const int64_t cols = x.shape().rank() == 2 ? x.dim(1) : 1;
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  const bool none = reduction == Reduction::kNone;
  Tensor each = none ? Tensor::empty(x.shape()) : Tensor{};
  Buffer<double> sums(static_cast<size_t>(chunks));
  Buffer<int64_t> counts(static_cast<size_t>(chunks));
  const float* px = x.value().data();
  const float* pt = targets.data();
  float* pe = none ? each.data() : nullptr;
  parallel_for(chunks, 1, [&](int64_t first, int64_t last) {
    for (int64_t chunk = first; chunk < last; ++chunk) {
      double sum = 0.0;
      int64_t count = 0;
      for (int64_t i = chunk * kChunk; i < std::min(n, (chunk + 1) * kChunk); ++i) {
        const bool missing = std::isnan(pt[i]);
        const float value = missing ? 0.0f : loss.value(px[i], pt[i], i % cols);
        if (none) pe[i] = value;
        sum += static_cast<double>(value);
        count += missing ? 0 : 1;
      }
      sums[static_cast<size_t>(chunk)] = sum;
      counts[static_cast<size_t>(chunk)] = count;
    }
  });
  double sum = 0.0;
  int64_t count = 0;
  for (size_t chunk = 0; chunk < sums.size(); ++chunk) {
    sum += sums[chunk];
    count += counts[chunk];
  }
  double factor = 1.0;
  if (reduction == Reduction::kMean) factor = count == 0 ? 0.0 : 1.0 / static_cast<double>(count);
  Tensor y = none ? std::move(each) : Tensor::full({1}, factor * sum);
  return record<PointwiseFunction<Loss>>(std::move(y), {x}, op, loss, x.value(), targets, std::move(kept),
                                         reduction, factor);
}

}  // namespace

Var binary_cross_entropy(const Var& logits, const Tensor& targets, const BinaryOptions& options) {
  constexpr const char* kOp = "binary_cross_entropy";
  if (options.positive_weights.defined()) {
    check_f32(kOp, "logits", logits.value());
    check_optional_vector(kOp, "positive weights", options.positive_weights,
                          logits.shape().rank() == 2 ? logits.dim(1) : 1);
  }
  return pointwise(kOp, logits, targets, options.reduction, Binary{data_or_null(options.positive_weights)},
                   options.positive_weights);
}

Var mean_squared_error(const Var& x, const Tensor& targets, Reduction reduction) {
  return pointwise("mean_squared_error", x, targets, reduction, Squared{});
}

Var huber(const Var& x, const Tensor& targets, float delta, Reduction reduction) {
  check_argument(delta > 0.0f, "huber", "expected delta > 0, got {}", delta);
  return pointwise("huber", x, targets, reduction, Huber{delta});
}

}  // namespace fovea::autograd
