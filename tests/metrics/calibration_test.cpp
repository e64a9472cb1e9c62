#include "fovea/metrics/calibration.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "fovea/base/error.hpp"
#include "tests/metrics/golden.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::metrics {
namespace {

TEST(Calibration, EqualsTheGoldenValue) {
  const Calibration c = calibration(golden::kTruth, golden::kProbabilities, golden::kClasses);
  EXPECT_NEAR(c.expected_error, golden::kCalibrationError, 1e-6);
  EXPECT_EQ(c.bins.size(), 15U);
  int64_t counted = 0;
  for (const CalibrationBin& bin : c.bins) counted += bin.count;
  EXPECT_EQ(counted, 40);
}

TEST(Calibration, CertainAndRightIsPerfect) {
  const std::vector<int32_t> truth{1, 0};
  const std::vector<float> probabilities{0, 1, 1, 0};
  const Calibration c = calibration(truth, probabilities, 2);
  EXPECT_EQ(c.expected_error, 0.0);
  EXPECT_EQ(c.bins.back().count, 2);
}

TEST(Calibration, BinsIncludeTheirUpperEdge) {
  const std::vector<int32_t> truth{0};
  const std::vector<float> probabilities{0.5F, 0.5F};
  EXPECT_EQ(calibration(truth, probabilities, 2, 2).bins[0].count, 1);
}

TEST(Calibration, WrongCallsAreNamed) {
  const std::vector<int32_t> truth{0};
  const std::vector<float> probabilities{1.5F, 0.5F};
  EXPECT_ERROR(calibration(truth, probabilities, 2), ArgumentError,
               "[calibration] expected probabilities in [0, 1], got 1.5 at example 0");
  EXPECT_ERROR(calibration(truth, probabilities, 2, 0), ArgumentError,
               "[calibration] expected at least one bin, got 0");
}

}  // namespace
}  // namespace fovea::metrics
