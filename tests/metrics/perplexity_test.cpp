#include "fovea/metrics/perplexity.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "fovea/base/error.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::metrics {
namespace {

TEST(Perplexity, UniformOverTheVocabularyIsItsSize) {
  EXPECT_NEAR(perplexity(10 * std::log(65.0), 10), 65.0, 1e-12);
  EXPECT_EQ(perplexity(0, 3), 1.0);
  EXPECT_ERROR(perplexity(1, 0), ArgumentError, "[perplexity] expected at least one token, got 0");
  EXPECT_ERROR(perplexity(-1, 1), ArgumentError,
               "[perplexity] expected a negative log-likelihood of at least 0, got -1");
}

TEST(BitsPerCharacter, UniformBytesAreEightBits) {
  EXPECT_NEAR(bits_per_character(7 * std::log(256.0), 7), 8.0, 1e-12);
  EXPECT_ERROR(bits_per_character(1, 0), ArgumentError,
               "[bits_per_character] expected at least one character, got 0");
}

}  // namespace
}  // namespace fovea::metrics
