// Percentile bootstrap intervals (Efron 1979): how far would a metric move with another test set of this
// size?
#pragma once

#include <cstdint>
#include <span>

#include "fovea/base/function_ref.hpp"

namespace fovea::metrics {

// Where a metric may lie; lower <= upper.
struct Interval {
  // In the metric's own unit.
  double lower = 0;
  double upper = 0;
};

// How often is drawn, and how much of it the interval holds.
struct BootstrapOptions {
  int64_t resamples = 1000;  // the interval's ends then move by about 0.03 of its width between seeds
  double confidence = 0.95;  // the share of samples within the interval
  uint64_t seed = 0;         // of the draws
};

// The metric on `resamples` samples of n rows drawn with replacement from [0, n), and the (1 ± confidence)/2
// quantiles of what it gave, interpolated linearly. `metric` gets row numbers and is called from one thread;
// the same seed gives the same interval. ArgumentError unless n >= 1, resamples >= 1, 0 < confidence < 1.
Interval bootstrap_interval(int64_t n, FunctionRef<double(std::span<const int64_t> rows)> metric,
                            const BootstrapOptions& options = {});

}  // namespace fovea::metrics
