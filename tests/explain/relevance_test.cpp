#include "fovea/explain/relevance.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "fovea/base/error.hpp"

namespace fovea::explain {
namespace {

TEST(GradientTimesInput, IsTheDotProductOfEachRow) {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}),
               g = Tensor::from<float>({1, 0, -1, 2, 2, 2}, {2, 3});
  EXPECT_EQ(gradient_times_input(x, g), (std::vector<float>{-2, 30}));
  EXPECT_TRUE(gradient_times_input(Tensor::zeros({0, 3}), Tensor::zeros({0, 3})).empty());
  EXPECT_THROW(gradient_times_input(x, Tensor::zeros({3, 2})), ArgumentError);
}

TEST(Occlusion, OfASumIsEachGroupsShare) {
  const std::vector<double> worth{1, 2, 4, 8, 16, 32};
  const std::vector<int64_t> groups{-1, 5, 5, 2, 9, 2};
  for (const int64_t batch : {1, 2, 3, 64}) {
    const auto score = [&](std::span<const std::vector<int64_t>> kept, std::span<double> scores) {
      ASSERT_LE(static_cast<int64_t>(kept.size()), batch);
      for (size_t v = 0; v < kept.size(); ++v) {
        scores[v] = 0;
        for (const int64_t t : kept[v]) scores[v] += worth[static_cast<size_t>(t)];
      }
    };
    EXPECT_EQ(occlusion(groups, score, batch), (std::vector<float>{0, 6, 6, 40, 16, 40}));
  }
  const auto unused = [](std::span<const std::vector<int64_t>>, std::span<double>) {};
  EXPECT_THROW(occlusion(groups, unused, 0), ArgumentError);
}

}  // namespace
}  // namespace fovea::explain
