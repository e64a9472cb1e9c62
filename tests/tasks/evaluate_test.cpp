#include "fovea/tasks/evaluate.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/base/error.hpp"

namespace fovea::tasks {
namespace {

TEST(EvaluateClasses, GivesTheFiguresByHand) {
  // Rows: right at 0.8, right at 0.6, wrong at 0.7.
  const Evaluation e = evaluate_classes({0, 1, 1}, {0.8f, 0.2f, 0.4f, 0.6f, 0.7f, 0.3f}, {"no", "yes"});
  EXPECT_EQ(e.examples, 3);
  EXPECT_NEAR(e.figure("accuracy"), 2.0 / 3.0, 1e-12);
  // "no": precision 1/2, recall 1, F1 2/3; "yes": precision 1, recall 1/2, F1 2/3.
  EXPECT_NEAR(e.figure("macro_f1"), 2.0 / 3.0, 1e-12);
  // The probabilities are float32: relative error 2^-24 each.
  const double log_loss = -(std::log(0.8) + std::log(0.6) + std::log(0.3)) / 3;
  EXPECT_NEAR(e.figure("log_loss"), log_loss, 1e-6);
  EXPECT_NEAR(e.score, 2.0 / 3.0 - log_loss / 100, 1e-6);
  EXPECT_THROW(e.figure("accuracies"), ArgumentError);
}

}  // namespace
}  // namespace fovea::tasks
