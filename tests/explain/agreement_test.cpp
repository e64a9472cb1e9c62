#include "fovea/explain/agreement.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"

namespace fovea::explain {
namespace {

// The definition: every pair looked at.
double naive_tau(const std::vector<float>& a, const std::vector<float>& b) {
  double same = 0, opposite = 0, tied_a = 0, tied_b = 0, pairs = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = i + 1; j < a.size(); ++j) {
      const int x = (a[i] > a[j]) - (a[i] < a[j]), y = (b[i] > b[j]) - (b[i] < b[j]);
      pairs += 1;
      tied_a += x == 0;
      tied_b += y == 0;
      same += x * y > 0;
      opposite += x * y < 0;
    }
  }
  return (same - opposite) / std::sqrt((pairs - tied_a) * (pairs - tied_b));
}

double naive_rho(const std::vector<float>& a, const std::vector<float>& b) {
  const auto ranks = [](const std::vector<float>& v) {
    std::vector<double> r(v.size());
    for (size_t i = 0; i < v.size(); ++i) {
      for (const float x : v) r[i] += x < v[i] ? 1.0 : x == v[i] ? 0.5 : 0.0;
    }
    return r;
  };
  const std::vector<double> x = ranks(a), y = ranks(b);
  const auto n = static_cast<double>(a.size());
  double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sx += x[i], sy += y[i], sxx += x[i] * x[i], syy += y[i] * y[i], sxy += x[i] * y[i];
  }
  return (sxy - sx * sy / n) / std::sqrt((sxx - sx * sx / n) * (syy - sy * sy / n));
}

TEST(Agreement, MatchesTheDefinitionWithAndWithoutTies) {
  for (const size_t n : {2U, 3U, 7U, 8U, 9U, 15U, 16U, 17U, 31U, 33U, 63U, 64U, 65U, 127U, 1000U}) {
    for (const uint32_t levels : {3U, 10U, 1000000U}) {
      Random random(RandomKey{n, levels});
      std::vector<float> a(n), b(n);
      for (size_t i = 0; i < n; ++i) {
        a[i] = static_cast<float>(random.below(levels));
        b[i] = random.below(3) == 0 ? a[i] : static_cast<float>(random.below(levels));
      }
      const double tau = naive_tau(a, b);
      if (std::isnan(tau)) {
        EXPECT_TRUE(std::isnan(kendall_tau(a, b))) << n << ' ' << levels;
        continue;
      }
      // Integers divided once: a few roundings of 2^-53.
      EXPECT_NEAR(kendall_tau(a, b), tau, 1e-14) << n << ' ' << levels;
      // The naive sums cancel n² to about n/12: up to n·2^-50.
      EXPECT_NEAR(spearman_rho(a, b), naive_rho(a, b), 1e-12 * static_cast<double>(n)) << n << ' ' << levels;
    }
  }
}

TEST(Agreement, OrdersAndReversesGiveOneAndMinusOne) {
  const std::vector<float> up{-3, -1, 0, 2, 8}, down{9, 7, 1, 0, -4};
  EXPECT_EQ(kendall_tau(up, up), 1);
  EXPECT_EQ(kendall_tau(up, down), -1);
  EXPECT_NEAR(spearman_rho(up, down), -1, 1e-15);
}

TEST(Agreement, NoOrderIsNaN) {
  const std::vector<float> none, one{1}, flat{2, 2, 2}, rising{1, 2, 3}, broken{1, NAN, 3};
  EXPECT_TRUE(std::isnan(kendall_tau(none, none)));
  EXPECT_TRUE(std::isnan(spearman_rho(one, one)));
  EXPECT_TRUE(std::isnan(kendall_tau(flat, rising)));
  EXPECT_TRUE(std::isnan(spearman_rho(rising, flat)));
  EXPECT_TRUE(std::isnan(kendall_tau(broken, rising)));
  EXPECT_TRUE(std::isnan(spearman_rho(rising, broken)));
}

TEST(Agreement, RefusesUnequalLengths) {
  const std::vector<float> two{1, 2}, three{1, 2, 3};
  try {
    kendall_tau(two, three);
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "[kendall_tau] expected a and b of equal length, got 2 and 3");
  }
  EXPECT_THROW(spearman_rho(two, three), ArgumentError);
}

}  // namespace
}  // namespace fovea::explain
