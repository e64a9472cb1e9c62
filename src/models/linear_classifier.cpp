#include "fovea/models/linear_classifier.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.hpp"
#include "fovea/base/random.hpp"

namespace fovea::models {

void LinearClassifier::logits(const SparseRows& rows, int64_t row, std::span<float> out) const {
  const auto n = static_cast<size_t>(classes());
  const float* w = weight.data();
  std::copy_n(bias.data(), n, out.begin());
  const auto begin = static_cast<size_t>(rows.offsets[static_cast<size_t>(row)]);
  const auto end = static_cast<size_t>(rows.offsets[static_cast<size_t>(row) + 1]);
  for (size_t i = begin; i < end; ++i) {
    const float x = rows.values[i];
    const float* wi = w + static_cast<size_t>(rows.columns[i]) * n;
    for (size_t c = 0; c < n; ++c) out[c] += x * wi[c];
  }
}

LinearTrainer::LinearTrainer(const SparseRows& rows, std::span<const int32_t> labels, int64_t features,
                             int64_t classes, std::span<const float> class_weights,
                             const LinearTrainOptions& options)
    : rows_(rows),
      labels_(labels),
      class_weights_(class_weights.begin(), class_weights.end()),
      options_(options) {
  check_argument(rows.count() == static_cast<int64_t>(labels.size()), "linear_trainer",
                 "expected one label a row, got {} rows and {} labels", rows.count(), labels.size());
  check_argument(class_weights.empty() || static_cast<int64_t>(class_weights.size()) == classes,
                 "linear_trainer", "expected {} class weights or none, got {}", classes,
                 class_weights.size());
  for (const int32_t label : labels) {
    check_argument(label >= 0 && label < classes, "linear_trainer", "expected labels in [0, {}), got {}",
                   classes, label);
  }
  model_.weight = Tensor::zeros({features, classes});
  model_.bias = Tensor::zeros({classes});
  weight_squares_ = Tensor::zeros({features, classes});
  bias_squares_ = Tensor::zeros({classes});
}

double LinearTrainer::run_epoch() {
  const auto n = static_cast<size_t>(model_.classes());
  std::vector<int32_t> order(labels_.size());
  std::iota(order.begin(), order.end(), 0);
  Random random(RandomKey{options_.seed, static_cast<uint64_t>(epoch_)});
  random.shuffle(order);
  std::vector<float> gradient(n);
  float* weight = model_.weight.data();
  float* squares = weight_squares_.data();
  float* bias = model_.bias.data();
  float* bias_squares = bias_squares_.data();
  const auto rate = static_cast<float>(options_.learning_rate);
  const auto l2 = static_cast<float>(options_.l2);
  const auto smooth = static_cast<float>(options_.label_smoothing / static_cast<double>(n));
  double loss = 0;
  for (const int32_t row : order) {
    const auto label = static_cast<size_t>(labels_[static_cast<size_t>(row)]);
    model_.logits(rows_, row, gradient);
    float top = gradient[0];
    for (size_t c = 1; c < n; ++c) top = std::max(top, gradient[c]);
    float total = 0;
    const float at_label = gradient[label] - top;
    for (size_t c = 0; c < n; ++c) total += gradient[c] = std::exp(gradient[c] - top);
    const float importance = class_weights_.empty() ? 1.0f : class_weights_[label];
    loss += importance * (std::log(total) - at_label);
    for (size_t c = 0; c < n; ++c) {
      const float target = smooth + (c == label ? 1.0f - static_cast<float>(options_.label_smoothing) : 0.0f);
      gradient[c] = importance * (gradient[c] / total - target);
    }
    const auto begin = static_cast<size_t>(rows_.offsets[static_cast<size_t>(row)]);
    const auto end = static_cast<size_t>(rows_.offsets[static_cast<size_t>(row) + 1]);
    for (size_t i = begin; i < end; ++i) {
      const float x = rows_.values[i];
      float* w = weight + static_cast<size_t>(rows_.columns[i]) * n;
      float* s = squares + static_cast<size_t>(rows_.columns[i]) * n;
      for (size_t c = 0; c < n; ++c) {
        const float g = x * gradient[c] + l2 * w[c];
        s[c] += g * g;
        w[c] -= rate * g / std::sqrt(s[c] + 1e-10f);
      }
    }
    for (size_t c = 0; c < n; ++c) {
      bias_squares[c] += gradient[c] * gradient[c];
      bias[c] -= rate * gradient[c] / std::sqrt(bias_squares[c] + 1e-10f);
    }
  }
  ++epoch_;
  return labels_.empty() ? 0.0 : loss / static_cast<double>(labels_.size());
}

}  // namespace fovea::models
