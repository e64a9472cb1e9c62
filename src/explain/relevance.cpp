#include "fovea/explain/relevance.hpp"

#include <algorithm>

#include "base/check.hpp"

namespace fovea::explain {

std::vector<float> gradient_times_input(const Tensor& embeddings, const Tensor& gradients) {
  check_argument(embeddings.rank() == 2 && embeddings.shape() == gradients.shape(), "gradient_times_input",
                 "expected embeddings and gradients of one shape [T, C], got {} and {}",
                 to_string(embeddings.shape()), to_string(gradients.shape()));
  const int64_t tokens = embeddings.dim(0), width = embeddings.dim(1);
  std::vector<float> relevance(static_cast<size_t>(tokens));
  const float* x = embeddings.data();
  const float* g = gradients.data();
  for (int64_t t = 0; t < tokens; ++t) {
    double sum = 0;
    for (int64_t c = 0; c < width; ++c, ++x, ++g) sum += static_cast<double>(*x) * static_cast<double>(*g);
    relevance[static_cast<size_t>(t)] = static_cast<float>(sum);
  }
  return relevance;
}

std::vector<float> occlusion(std::span<const int64_t> groups, VariantScores score, int64_t batch) {
  check_argument(batch >= 1, "occlusion", "expected batch >= 1, got {}", batch);
  // Variant 0 keeps everything; variant i leaves out the i-th group that occurs.
  std::vector<int64_t> left_out{-1};
  for (const int64_t group : groups) {
    if (group >= 0) left_out.push_back(group);
  }
  std::sort(left_out.begin() + 1, left_out.end());
  left_out.erase(std::unique(left_out.begin() + 1, left_out.end()), left_out.end());
  std::vector<double> scores(left_out.size());
  for (size_t begin = 0; begin < left_out.size(); begin += static_cast<size_t>(batch)) {
    const size_t end = std::min(begin + static_cast<size_t>(batch), left_out.size());
    std::vector<std::vector<int64_t>> kept(end - begin);
    for (size_t v = begin; v < end; ++v) {
      for (size_t t = 0; t < groups.size(); ++t) {
        if (groups[t] < 0 || groups[t] != left_out[v]) kept[v - begin].push_back(static_cast<int64_t>(t));
      }
    }
    score(kept, std::span<double>(scores).subspan(begin, end - begin));
  }
  std::vector<float> relevance(groups.size());
  for (size_t t = 0; t < groups.size(); ++t) {
    if (groups[t] < 0) continue;
    const auto v = static_cast<size_t>(std::lower_bound(left_out.begin() + 1, left_out.end(), groups[t]) -
                                       left_out.begin());
    relevance[t] = static_cast<float>(scores[0] - scores[v]);
  }
  return relevance;
}

}  // namespace fovea::explain
