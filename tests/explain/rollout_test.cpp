#include "fovea/explain/rollout.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"

namespace fovea::explain {
namespace {

using Matrix = std::vector<double>;  // [n, n]

Tensor random_weights(int64_t heads, int64_t n, uint64_t seed) {
  Tensor weights = Tensor::empty({heads, n, n});
  Random random(seed);
  for (int64_t row = 0; row < heads * n; ++row) {
    double sum = 0;
    std::vector<double> w(static_cast<size_t>(n));
    for (double& x : w) sum += x = std::exp(2 * random.normal());
    for (int64_t k = 0; k < n; ++k) {
      weights.data()[row * n + k] = static_cast<float>(w[static_cast<size_t>(k)] / sum);
    }
  }
  return weights;
}

// The paper's definition: Â = (A + I) with rows made to sum to one, multiplied through the layers as
// matrices.
std::vector<double> naive_rollout(const std::vector<Tensor>& layers, const std::vector<float>& start) {
  const size_t n = start.size();
  Matrix product(n * n);
  for (size_t i = 0; i < n; ++i) product[i * n + i] = 1;
  for (const Tensor& layer : layers) {
    Matrix mean(n * n), next(n * n);
    const auto heads = static_cast<size_t>(layer.dim(0));
    for (size_t h = 0; h < heads; ++h) {
      for (size_t i = 0; i < n * n; ++i)
        mean[i] += static_cast<double>(layer.data()[h * n * n + i]) / static_cast<double>(heads);
    }
    for (size_t i = 0; i < n; ++i) {
      double sum = 1;
      for (size_t j = 0; j < n; ++j) sum += mean[i * n + j];
      mean[i * n + i] += 1;
      for (size_t j = 0; j < n; ++j) mean[i * n + j] /= sum;
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        for (size_t k = 0; k < n; ++k) next[i * n + k] += mean[i * n + j] * product[j * n + k];
      }
    }
    product = next;
  }
  std::vector<double> result(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < n; ++k) result[k] += static_cast<double>(start[i]) * product[i * n + k];
  }
  return result;
}

TEST(Rollout, MatchesTheProductOfMatrices) {
  for (const int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127}) {
    std::vector<Tensor> layers;
    for (uint64_t l = 0; l < 4; ++l)
      layers.push_back(random_weights(3, n, 10 * static_cast<uint64_t>(n) + l));
    std::vector<float> start(static_cast<size_t>(n), n > 0 ? 1.0F / static_cast<float>(n) : 0.0F);
    if (n > 2) start.assign(static_cast<size_t>(n), 0.0F), start[0] = 1;
    const std::vector<float> got = attention_rollout(layers, start);
    const std::vector<double> expected = naive_rollout(layers, start);
    ASSERT_EQ(got.size(), expected.size());
    // Weights sum to one to 2^-24·sqrt(n); the head mean and the result round to float32: a few 2^-24 of at
    // most 1.
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-6) << n << ' ' << i;
  }
}

TEST(Rollout, KeepsMassAndSequencesApart) {
  const Offsets offsets({0, 4, 4, 9});
  const std::vector<float> start{0, 0, 0, 1, 0.5F, 0.5F, 0, 0, 0};
  const auto rows = [&](int64_t layer, int64_t query, std::span<float> row) {
    ASSERT_EQ(row.size(), query < 4 ? 4U : 5U);
    for (size_t k = 0; k < row.size(); ++k)
      row[k] = static_cast<float>((k + static_cast<size_t>(layer + query)) % 3);
  };
  const std::vector<float> got = attention_rollout(3, offsets, start, rows);
  double first = 0, second = 0;
  for (size_t i = 0; i < 4; ++i) first += static_cast<double>(got[i]);
  for (size_t i = 4; i < 9; ++i) second += static_cast<double>(got[i]);
  EXPECT_NEAR(first, 1, 1e-6);
  EXPECT_NEAR(second, 1, 1e-6);
}

TEST(Rollout, TokenWithoutKeysKeepsWhatItHas) {
  const std::vector<float> start{0, 1, 0};
  const auto nothing = [](int64_t, int64_t, std::span<float>) {};
  EXPECT_EQ(attention_rollout(5, Offsets::single(3), start, nothing), start);
}

TEST(Rollout, RefusesWhatDoesNotFit) {
  const auto nothing = [](int64_t, int64_t, std::span<float>) {};
  const std::vector<float> start(3);
  EXPECT_THROW(attention_rollout(-1, Offsets::single(3), start, nothing), ArgumentError);
  EXPECT_THROW(attention_rollout(1, Offsets::single(4), start, nothing), ArgumentError);
  EXPECT_THROW(attention_rollout(1, Offsets::single(3), start, nothing, {.residual = 1.5}), ArgumentError);
  const std::vector<Tensor> wrong{Tensor::zeros({2, 3, 4})};
  try {
    attention_rollout(wrong, start);
    FAIL();
  } catch (const ArgumentError& e) {
    EXPECT_STREQ(e.what(), "[attention_rollout] expected the weights of layer 0 as [H, 3, 3], got [2, 3, 4]");
  }
}

}  // namespace
}  // namespace fovea::explain
