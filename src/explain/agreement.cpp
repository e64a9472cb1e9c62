#include "fovea/explain/agreement.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.hpp"

namespace fovea::explain {
namespace {

constexpr double kNoOrder = std::numeric_limits<double>::quiet_NaN();

bool has_nan(std::span<const float> values) {
  return std::any_of(values.begin(), values.end(), [](float x) { return std::isnan(x); });
}

void check_lengths(const char* call, std::span<const float> a, std::span<const float> b) {
  check_argument(a.size() == b.size(), call, "expected a and b of equal length, got {} and {}", a.size(),
                 b.size());
}

// Pairs inside runs of equal neighbours: Σ t(t−1)/2 over the runs of a sorted sequence.
template <class Equal>
int64_t tied_pairs(size_t n, Equal equal_to_previous) {
  int64_t pairs = 0, run = 1;
  for (size_t i = 1; i < n; ++i) {
    run = equal_to_previous(i) ? run + 1 : 1;
    pairs += run - 1;
  }
  return pairs;
}

// Sorts values ascending and returns the number of exchanges of neighbours that a bubble sort would need: the
// discordant pairs. Bottom-up merge sort.
int64_t sort_counting_exchanges(std::vector<float>& values) {
  std::vector<float> merged(values.size());
  int64_t exchanges = 0;
  for (size_t width = 1; width < values.size(); width *= 2) {
    for (size_t begin = 0; begin < values.size(); begin += 2 * width) {
      const size_t middle = std::min(begin + width, values.size()),
                   end = std::min(begin + 2 * width, values.size());
      size_t left = begin, right = middle;
      for (size_t out = begin; out < end; ++out) {
        if (left < middle && (right == end || values[left] <= values[right])) {
          merged[out] = values[left++];
        } else {
          exchanges += static_cast<int64_t>(middle - left);
          merged[out] = values[right++];
        }
      }
    }
    values.swap(merged);
  }
  return exchanges;
}

std::vector<double> mean_ranks(std::span<const float> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return values[i] < values[j]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = 0.5 * static_cast<double>(begin + end - 1);
    for (; begin < end; ++begin) ranks[order[begin]] = rank;
  }
  return ranks;
}

}  // namespace

double kendall_tau(std::span<const float> a, std::span<const float> b) {
  check_lengths("kendall_tau", a, b);
  const size_t n = a.size();
  if (n < 2 || has_nan(a) || has_nan(b)) return kNoOrder;
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t i, size_t j) { return a[i] != a[j] ? a[i] < a[j] : b[i] < b[j]; });
  const auto same_a = [&](size_t i) { return a[order[i]] == a[order[i - 1]]; };
  const int64_t ties_a = tied_pairs(n, same_a);
  const int64_t ties_both =
      tied_pairs(n, [&](size_t i) { return same_a(i) && b[order[i]] == b[order[i - 1]]; });
  std::vector<float> b_by_a(n);
  for (size_t i = 0; i < n; ++i) b_by_a[i] = b[order[i]];
  const int64_t discordant = sort_counting_exchanges(b_by_a);
  const int64_t ties_b = tied_pairs(n, [&](size_t i) { return b_by_a[i] == b_by_a[i - 1]; });
  const int64_t pairs = static_cast<int64_t>(n) * (static_cast<int64_t>(n) - 1) / 2;
  const int64_t difference = pairs - ties_a - ties_b + ties_both - 2 * discordant;  // C − D
  if (ties_a == pairs || ties_b == pairs) return kNoOrder;
  return static_cast<double>(difference) /
         std::sqrt(static_cast<double>(pairs - ties_a) * static_cast<double>(pairs - ties_b));
}

double spearman_rho(std::span<const float> a, std::span<const float> b) {
  check_lengths("spearman_rho", a, b);
  const size_t n = a.size();
  if (n < 2 || has_nan(a) || has_nan(b)) return kNoOrder;
  const std::vector<double> ranks_a = mean_ranks(a), ranks_b = mean_ranks(b);
  const double mean = 0.5 * static_cast<double>(n - 1);
  double covariance = 0, variance_a = 0, variance_b = 0;
  for (size_t i = 0; i < n; ++i) {
    covariance += (ranks_a[i] - mean) * (ranks_b[i] - mean);
    variance_a += (ranks_a[i] - mean) * (ranks_a[i] - mean);
    variance_b += (ranks_b[i] - mean) * (ranks_b[i] - mean);
  }
  if (variance_a == 0 || variance_b == 0) return kNoOrder;
  return covariance / std::sqrt(variance_a * variance_b);
}

}  // namespace fovea::explain
