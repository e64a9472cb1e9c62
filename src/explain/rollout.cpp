#include "fovea/explain/rollout.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace fovea::explain {

std::vector<float> attention_rollout(int64_t layers, const Offsets& offsets, std::span<const float> start,
                                     HeadMeanRow rows, const RolloutOptions& options) {
  constexpr std::string_view kCall = "attention_rollout";
  check_argument(layers >= 0, kCall, "expected layers >= 0, got {}", layers);
  check_argument(static_cast<int64_t>(start.size()) == offsets.total(), kCall,
                 "expected one start weight for each of {} tokens, got {}", offsets.total(), start.size());
  check_argument(options.residual >= 0 && options.residual <= 1, kCall, "expected residual in [0, 1], got {}",
                 options.residual);

  std::vector<double> relevance(start.begin(), start.end()), below(start.size());
  std::vector<float> row(static_cast<size_t>(offsets.max_length()));
  for (int64_t layer = layers - 1; layer >= 0; --layer) {
    std::fill(below.begin(), below.end(), 0.0);
    for (int64_t n = 0; n < offsets.count(); ++n) {
      const std::span<float> keys(row.data(), static_cast<size_t>(offsets.length(n)));
      double* const into = below.data() + offsets.begin(n);
      for (int64_t query = offsets.begin(n); query < offsets.end(n); ++query) {
        const double amount = relevance[static_cast<size_t>(query)];
        if (amount == 0) continue;
        std::fill(keys.begin(), keys.end(), 0.0F);
        rows(layer, query, keys);
        double mass = 0;
        for (const float w : keys) mass += w;
        // Weights may sum to less than one (dropout, sinks, sigmoid attention): dividing by the row's sum
        // keeps the rollout a distribution. Without any key only the residual connection carries anything.
        const double through = mass > 0 ? (1 - options.residual) / mass : 0;
        for (size_t key = 0; key < keys.size(); ++key)
          into[key] += amount * through * static_cast<double>(keys[key]);
        below[static_cast<size_t>(query)] += amount * (mass > 0 ? options.residual : 1);
      }
    }
    relevance.swap(below);
  }
  std::vector<float> result(relevance.size());
  std::transform(relevance.begin(), relevance.end(), result.begin(),
                 [](double x) { return static_cast<float>(x); });
  return result;
}

std::vector<float> attention_rollout(std::span<const Tensor> layers, std::span<const float> start,
                                     const RolloutOptions& options) {
  const auto tokens = static_cast<int64_t>(start.size());
  for (size_t l = 0; l < layers.size(); ++l) {
    const Shape& shape = layers[l].shape();
    check_argument(shape.rank() == 3 && shape.dim(0) > 0 && shape.dim(1) == tokens && shape.dim(2) == tokens,
                   "attention_rollout", "expected the weights of layer {} as [H, {}, {}], got {}", l, tokens,
                   tokens, to_string(shape));
  }
  const auto head_mean = [&](int64_t layer, int64_t query, std::span<float> row) {
    const Tensor& weights = layers[static_cast<size_t>(layer)];
    const int64_t heads = weights.dim(0);
    for (int64_t head = 0; head < heads; ++head) {
      const float* w = weights.data() + (head * tokens + query) * tokens;
      for (size_t key = 0; key < row.size(); ++key) row[key] += w[key] / static_cast<float>(heads);
    }
  };
  return attention_rollout(static_cast<int64_t>(layers.size()), Offsets::single(tokens), start, head_mean,
                           options);
}

}  // namespace fovea::explain
