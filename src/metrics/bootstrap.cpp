#include "fovea/metrics/bootstrap.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.hpp"
#include "fovea/base/random.hpp"

namespace fovea::metrics {
namespace {

// sorted: ascending, not empty; q in [0, 1].
double quantile(std::span<const double> sorted, double q) {
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(std::floor(position));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

}  // namespace

Interval bootstrap_interval(int64_t n, FunctionRef<double(std::span<const int64_t>)> metric,
                            const BootstrapOptions& options) {
  check_argument(n >= 1, "bootstrap_interval", "expected at least one row, got {}", n);
  check_argument(options.resamples >= 1, "bootstrap_interval", "expected at least one resample, got {}",
                 options.resamples);
  check_argument(options.confidence > 0 && options.confidence < 1, "bootstrap_interval",
                 "expected a confidence in (0, 1), got {}", options.confidence);
  std::vector<int64_t> rows(static_cast<size_t>(n));
  std::vector<double> values;
  values.reserve(static_cast<size_t>(options.resamples));
  for (int64_t sample = 0; sample < options.resamples; ++sample) {
    Random random(RandomKey{options.seed, static_cast<uint64_t>(sample)});
    for (int64_t& row : rows) row = static_cast<int64_t>(random.below(static_cast<uint64_t>(n)));
    values.push_back(metric(rows));
  }
  std::sort(values.begin(), values.end());
  const double tail = (1.0 - options.confidence) / 2;
  return {quantile(values, tail), quantile(values, 1.0 - tail)};
}

}  // namespace fovea::metrics
