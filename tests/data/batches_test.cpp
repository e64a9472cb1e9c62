#include "fovea/data/batches.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"

namespace fovea::data {
namespace {

constexpr BatchOrder kOrders[] = {BatchOrder::kSequential, BatchOrder::kShuffled,
                                  BatchOrder::kSimilarLengths};

std::vector<int64_t> some_lengths(int64_t count) {
  Random random(3);
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i) lengths.push_back(static_cast<int64_t>(random.below(60)));
  return lengths;
}

TEST(PackingLoader, EveryEpochGivesEverySequenceOnceWithinTheBudget) {
  for (const int64_t count : {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 1000}) {
    for (const BatchOrder order : kOrders) {
      auto lengths = some_lengths(count);
      lengths[0] = 500;  // beyond the budget: alone
      PackingLoader loader(lengths, {.max_tokens = 200, .max_sequences = 9, .order = order, .seed = 4});
      for (int64_t epoch = 0; epoch < 3; ++epoch) {
        std::multiset<int64_t> seen;
        EXPECT_EQ(loader.position(), (PackingLoader::Position{epoch, 0}));
        while (loader.position().epoch == epoch) {
          const auto batch = loader.next();
          ASSERT_FALSE(batch.empty());
          EXPECT_LE(batch.size(), 9u);
          int64_t tokens = 0;
          for (const int64_t i : batch) {
            tokens += lengths[static_cast<size_t>(i)];
            seen.insert(i);
          }
          EXPECT_TRUE(tokens <= 200 || batch.size() == 1) << tokens;
        }
        ASSERT_EQ(static_cast<int64_t>(seen.size()), count);
        EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), seen.size());
      }
    }
  }
}

TEST(PackingLoader, BatchesAreWellFilled) {
  const auto lengths = some_lengths(5000);
  PackingLoader loader(lengths, {.max_tokens = 2000});
  // A batch closes when the next sequence, 29.5 tokens in the mean, does not fit.
  EXPECT_LT(loader.batches_in_epoch(), loader.tokens_in_epoch() / (2000 - 60) + 2);
}

TEST(PackingLoader, ResumesAtAnyPosition) {
  for (const BatchOrder order : kOrders) {
    const PackingOptions options{.max_tokens = 300, .max_sequences = 0, .order = order, .seed = 8};
    const auto lengths = some_lengths(200);
    PackingLoader whole(lengths, options);
    for (int step = 0; step < 60; ++step) {
      const auto position = whole.position();
      const auto batch = whole.next();
      PackingLoader resumed(lengths, options);
      resumed.seek(position);
      EXPECT_EQ(resumed.position(), position);
      const auto again = resumed.next();
      EXPECT_TRUE(std::equal(batch.begin(), batch.end(), again.begin(), again.end())) << step;
      EXPECT_EQ(resumed.position(), whole.position());
    }
  }
}

TEST(PackingLoader, EpochsAndSeedsDiffer) {
  const auto lengths = some_lengths(100);
  const auto first = [&](uint64_t seed, int64_t epoch) {
    PackingLoader loader(lengths, {.max_tokens = 500, .seed = seed});
    loader.seek({epoch, 0});
    const auto batch = loader.next();
    return std::vector<int64_t>(batch.begin(), batch.end());
  };
  EXPECT_EQ(first(1, 0), first(1, 0));
  EXPECT_NE(first(1, 0), first(1, 1));
  EXPECT_NE(first(1, 0), first(2, 0));
}

TEST(PackingLoader, SimilarLengthsMeet) {
  const auto lengths = some_lengths(5000);
  const auto spread = [&](BatchOrder order) {
    PackingLoader loader(lengths, {.max_tokens = 1000, .order = order});
    int64_t sum = 0;
    while (loader.position().epoch == 0) {
      int64_t least = 1000;
      int64_t most = 0;
      for (const int64_t i : loader.next()) {
        least = std::min(least, lengths[static_cast<size_t>(i)]);
        most = std::max(most, lengths[static_cast<size_t>(i)]);
      }
      sum += most - least;
    }
    return sum;
  };
  EXPECT_LT(5 * spread(BatchOrder::kSimilarLengths), spread(BatchOrder::kShuffled));
}

TEST(PackingLoader, MisuseIsAnArgumentError) {
  const std::vector<int64_t> none;
  const std::vector<int64_t> negative{-1};
  const std::vector<int64_t> one{1};
  EXPECT_THROW(PackingLoader(none, {}), ArgumentError);
  EXPECT_THROW(PackingLoader(negative, {}), ArgumentError);
  EXPECT_THROW(PackingLoader(one, {.max_tokens = 0}), ArgumentError);
  EXPECT_THROW(PackingLoader(one, {.max_tokens = 1, .max_sequences = -1}), ArgumentError);
  PackingLoader loader(one, {});
  EXPECT_THROW(loader.seek({0, 1}), ArgumentError);
  EXPECT_THROW(loader.seek({-1, 0}), ArgumentError);
}

}  // namespace
}  // namespace fovea::data
