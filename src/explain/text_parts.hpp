// Pieces that explaining a classifier and a language model share. Internal.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "fovea/nn/module.hpp"

namespace fovea::explain {

inline std::vector<double> softmax_of(std::span<const float> logits) {
  std::vector<double> p(logits.begin(), logits.end());
  const double largest = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - largest);
  for (double& x : p) x /= sum;
  return p;
}

// The `count` most probable, strongest first, ties to the lower index.
inline std::vector<size_t> strongest(std::span<const double> p, int64_t count) {
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t kept = std::min(p.size(), static_cast<size_t>(std::max<int64_t>(count, 1)));
  std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(kept), order.end(),
                    [&](size_t a, size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  order.resize(kept);
  return order;
}

// An explanation leaves no gradient behind for a training step to find.
inline void clear_gradients(nn::Module& model) {
  for (const nn::Parameter& parameter : model.parameters()) {
    autograd::Var var = parameter.var;
    var.clear_grad();
  }
}

// A batch of what is left of a text: the kept tokens of each variant, one after the other.
struct Variants {
  std::vector<int32_t> ids;
  std::vector<int64_t> lengths;
};
inline Variants variants_of(std::span<const int32_t> ids, std::span<const std::vector<int64_t>> kept) {
  Variants variants;
  for (const std::vector<int64_t>& tokens : kept) {
    variants.lengths.push_back(static_cast<int64_t>(tokens.size()));
    for (const int64_t t : tokens) variants.ids.push_back(ids[static_cast<size_t>(t)]);
  }
  return variants;
}

}  // namespace fovea::explain
