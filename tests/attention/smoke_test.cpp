#include <gtest/gtest.h>

#include "fovea/attention/attention.hpp"
#include "fovea/attention/rotary.hpp"

namespace fovea {
namespace {

TEST(Attention, UniformScoresAverageTheValues) {
  const Tensor q = Tensor::zeros({2, 1, 4});
  const Tensor v = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 1, 2});
  const AttentionResult r = attention(q, Tensor::zeros({3, 1, 4}), v);
  EXPECT_NEAR(r.out.data()[0], 3.0f, 1e-6f);
  EXPECT_NEAR(r.out.data()[3], 4.0f, 1e-6f);
  EXPECT_NEAR(r.lse.data()[0], std::log(3.0f), 1e-6f);
}

}  // namespace
}  // namespace fovea
