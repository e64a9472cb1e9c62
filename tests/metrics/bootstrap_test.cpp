#include "fovea/metrics/bootstrap.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/base/error.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::metrics {
namespace {

// Rows below `right` count 1, the others 0: the bootstrap distribution is Binomial(n, right / n) / n.
double share_below(std::span<const int64_t> rows, int64_t right) {
  double sum = 0;
  for (const int64_t row : rows) sum += row < right ? 1.0 : 0.0;
  return sum / static_cast<double>(rows.size());
}

TEST(Bootstrap, AgreesWithTheBinomialInterval) {
  const auto metric = [](std::span<const int64_t> rows) { return share_below(rows, 800); };
  const Interval interval = bootstrap_interval(1000, metric, {.resamples = 2000});
  const double deviation = std::sqrt(0.8 * 0.2 / 1000);
  // An end is the 2.5 % quantile of 2,000 draws: standard error sqrt(0.025·0.975/2000)/0.0584 = 0.06
  // deviations, plus half a step of 1/1000 (0.04 deviations); four standard errors.
  EXPECT_NEAR(interval.lower, 0.8 - 1.96 * deviation, 0.28 * deviation);
  EXPECT_NEAR(interval.upper, 0.8 + 1.96 * deviation, 0.28 * deviation);
}

TEST(Bootstrap, SameSeedSameInterval) {
  const auto metric = [](std::span<const int64_t> rows) { return share_below(rows, 30); };
  const Interval a = bootstrap_interval(50, metric, {.resamples = 100, .seed = 3});
  const Interval b = bootstrap_interval(50, metric, {.resamples = 100, .seed = 3});
  EXPECT_EQ(a.lower, b.lower);
  EXPECT_EQ(a.upper, b.upper);
}

TEST(Bootstrap, OneRowHasNoWidth) {
  const Interval one = bootstrap_interval(1, [](std::span<const int64_t>) { return 0.5; });
  EXPECT_EQ(one.lower, 0.5);
  EXPECT_EQ(one.upper, 0.5);
}

TEST(Bootstrap, WrongCallsAreNamed) {
  const auto metric = [](std::span<const int64_t>) { return 0.0; };
  EXPECT_ERROR(bootstrap_interval(0, metric), ArgumentError,
               "[bootstrap_interval] expected at least one row, got 0");
  EXPECT_ERROR(bootstrap_interval(1, metric, {.confidence = 1.0}), ArgumentError,
               "[bootstrap_interval] expected a confidence in (0, 1), got 1");
}

}  // namespace
}  // namespace fovea::metrics
