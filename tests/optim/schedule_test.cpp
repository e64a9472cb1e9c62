#include "fovea/optim/schedule.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/base/error.hpp"

namespace fovea::optim {
namespace {

TEST(Schedule, ConstantWarmsUpLinearly) {
  const Schedule s{.peak = 0.4, .warm_up_steps = 4};
  EXPECT_DOUBLE_EQ(s(0), 0.1);
  EXPECT_DOUBLE_EQ(s(3), 0.4);
  EXPECT_DOUBLE_EQ(s(1000000), 0.4);
}

TEST(Schedule, LinearAndCosineEndAtTheirFraction) {
  for (const ScheduleKind kind : {ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    const Schedule s{
        .kind = kind, .peak = 1.0, .warm_up_steps = 10, .total_steps = 110, .final_fraction = 0.1};
    EXPECT_DOUBLE_EQ(s(9), 1.0);
    EXPECT_DOUBLE_EQ(s(10), 1.0);
    EXPECT_NEAR(s(60), 0.55, 1e-12);  // half way
    EXPECT_NEAR(s(110), 0.1, 1e-12);
    EXPECT_NEAR(s(100000), 0.1, 1e-12);
  }
  const Schedule cosine{.kind = ScheduleKind::kCosine, .peak = 1.0, .total_steps = 100};
  EXPECT_NEAR(cosine(25), 0.5 * (1 + std::cos(M_PI / 4)), 1e-12);
}

TEST(Schedule, InverseSquareRootIsVaswanisUpToItsPeak) {
  const Schedule s{.kind = ScheduleKind::kInverseSquareRoot, .peak = 1.0, .warm_up_steps = 100};
  EXPECT_NEAR(s(49), 0.5, 1e-12);
  EXPECT_NEAR(s(99), 1.0, 1e-12);
  EXPECT_NEAR(s(399), 0.5, 1e-12);
}

// Golden: torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10, pct_start=0.3), whose rise ends at
// step 0.3·10 − 1 = 2.
TEST(Schedule, OneCycleEqualsPyTorch) {
  const Schedule s{.kind = ScheduleKind::kOneCycle,
                   .peak = 1.0,
                   .warm_up_steps = 2,
                   .total_steps = 10,
                   .final_fraction = 1.0 / 25.0 / 1e4};
  const double golden[] = {0.04,           0.52,          1,
                           0.950484632013, 0.81174565395, 0.611262021936,
                           0.388741978064, 0.18825834605, 0.0495193679865,
                           4e-06};
  for (int i = 0; i < 10; ++i) EXPECT_NEAR(s(i), golden[i], 1e-9) << i;
}

TEST(Schedule, MisuseIsNamed) {
  EXPECT_THROW((void)(Schedule{.peak = -1.0}(0)), ArgumentError);
  EXPECT_THROW((void)(Schedule{.kind = ScheduleKind::kCosine, .warm_up_steps = 5, .total_steps = 5}(0)),
               ArgumentError);
  try {
    Schedule{}(-1);
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "[schedule] expected a step >= 0, got -1");
  }
}

}  // namespace
}  // namespace fovea::optim
