// Patterns against their definitions, pair by pair, and what a compiled mask holds.
#include "fovea/attention/block_mask.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "fovea/base/error.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

constexpr int64_t kLengths[] = {0, 1, 3, 31, 63, 64, 65, 127, 128, 200};

using Sees = std::function<bool(int64_t i, int64_t j)>;

void expect_pairs(const BlockMask& mask, int64_t lq, int64_t lk, const Sees& sees, const std::string& what) {
  ASSERT_EQ(mask.queries(), lq);
  ASSERT_EQ(mask.keys(), lk);
  int64_t pairs = 0;
  for (int64_t i = 0; i < lq; ++i) {
    for (int64_t j = 0; j < lk; ++j) {
      ASSERT_EQ(mask.sees(i, j), sees(i, j)) << what << " (" << lq << ", " << lk << ") at " << i << ", " << j;
      pairs += sees(i, j) ? 1 : 0;
    }
  }
  EXPECT_EQ(mask.pairs(), pairs) << what;
}

TEST(BlockMask, PatternsAreWhatTheySay) {
  for (const int64_t lq : kLengths) {
    for (const int64_t lk : kLengths) {
      const int64_t shift = lk - lq;
      const auto check = [&](const BlockMask& mask, const Sees& sees, const char* what) {
        expect_pairs(mask, lq, lk, sees, what);
      };
      check(
          BlockMask::all(lq, lk), [](int64_t, int64_t) { return true; }, "all");
      check(
          BlockMask::causal(lq, lk), [=](int64_t i, int64_t j) { return j <= i + shift; }, "causal");
      check(
          BlockMask::window(lq, lk, 5, 70),
          [=](int64_t i, int64_t j) { return j >= i + shift - 5 && j <= i + shift + 70; }, "window");
      check(
          BlockMask::window(lq, lk, -1, 3), [=](int64_t i, int64_t j) { return j <= i + shift + 3; }, "left");
      check(
          BlockMask::dilated(lq, lk, 40, 20, 3),
          [=](int64_t i, int64_t j) {
            const int64_t e = i + shift - j;
            return e <= 40 && e >= -20 && e % 3 == 0;
          },
          "dilated");
      check(
          BlockMask::strided(lq, lk, 7), [=](int64_t i, int64_t j) { return (i + shift - j) % 7 == 0; },
          "strided");
      check(
          BlockMask::global_tokens(lq, lk, 4), [](int64_t i, int64_t j) { return i < 4 || j < 4; }, "global");
      check(
          BlockMask::prefix(lq, lk, 10), [=](int64_t i, int64_t j) { return j < 10 || j <= i + shift; },
          "prefix");
      check(
          BlockMask::causal(lq, lk) & BlockMask::strided(lq, lk, 5),
          [=](int64_t i, int64_t j) { return j <= i + shift && (i + shift - j) % 5 == 0; }, "and");
      check(
          BlockMask::window(lq, lk, 2, 2) | BlockMask::global_tokens(lq, lk, 1),
          [=](int64_t i, int64_t j) { return i == 0 || j == 0 || std::abs(i + shift - j) <= 2; }, "or");
    }
  }
}

TEST(BlockMask, ReadsBitmapsOfAnyBlock) {
  for (const int64_t q_block : {1, 7, 16, 64, 100}) {
    for (const int64_t k_block : {1, 5, 64, 128}) {
      const int64_t lq = 150, lk = 170;
      const int64_t rows = (lq + q_block - 1) / q_block, columns = (lk + k_block - 1) / k_block;
      std::vector<uint8_t> bitmap;
      Random random(3);
      for (int64_t i = 0; i < rows * columns; ++i) bitmap.push_back(static_cast<uint8_t>(random.below(2)));
      expect_pairs(
          BlockMask::from_bitmap(bitmap, q_block, k_block, lq, lk), lq, lk,
          [&](int64_t i, int64_t j) {
            return bitmap[static_cast<size_t>(i / q_block * columns + j / k_block)] != 0;
          },
          "bitmap");
    }
  }
}

TEST(BlockMask, SeparatesDocuments) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 300; ++i) ids.push_back(i < 70 ? 4 : i < 200 ? -1 : i < 230 ? 4 : i);
  const std::vector<int64_t> some(ids.begin() + 50, ids.begin() + 150);
  expect_pairs(
      BlockMask::documents(some, ids), 100, 300,
      [&](int64_t i, int64_t j) { return some[static_cast<size_t>(i)] == ids[static_cast<size_t>(j)]; },
      "documents");
}

TEST(BlockMask, DrawsDistinctBlocks) {
  const BlockMask mask = BlockMask::random(300, 500, 32, 3, {5, 6});
  for (int64_t i = 0; i < 300; ++i) {
    int64_t blocks = 0;
    for (int64_t b = 0; b < 16; ++b) {
      const bool live = mask.sees(i, b * 32);
      blocks += live ? 1 : 0;
      for (int64_t j = b * 32; j < std::min<int64_t>(500, b * 32 + 32); ++j) ASSERT_EQ(mask.sees(i, j), live);
      ASSERT_EQ(live, mask.sees(i / 32 * 32, b * 32));
    }
    ASSERT_EQ(blocks, 3);
  }
  EXPECT_EQ(BlockMask::random(70, 70, 32, 9, {}).pairs(), 4900);
  const BlockMask again = BlockMask::random(300, 500, 32, 3, {5, 6});
  EXPECT_EQ((mask & again).pairs(), mask.pairs());
  EXPECT_LT((mask & BlockMask::random(300, 500, 32, 3, {5, 7})).pairs(), mask.pairs());
}

TEST(BlockMask, HasTheReadyMadePatterns) {
  expect_pairs(
      longformer(150, 20, 3), 150, 150,
      [](int64_t i, int64_t j) { return i < 3 || j < 3 || std::abs(i - j) <= 20; }, "longformer");
  expect_pairs(
      sparse_transformer(150, 12), 150, 150,
      [](int64_t i, int64_t j) { return j <= i && (i - j <= 12 || (i - j) % 12 == 0); }, "strided");
  expect_pairs(
      sparse_transformer(150, 12, SparsePattern::kFixed), 150, 150,
      [](int64_t i, int64_t j) { return j <= i && (i / 12 == j / 12 || j % 12 == 11); }, "fixed");
  const BlockMask random = BlockMask::random(150, 150, 16, 2, {1, 2});
  expect_pairs(
      big_bird(150, 16, 1, 3, 2, {1, 2}), 150, 150,
      [&](int64_t i, int64_t j) {
        return i < 16 || j < 16 || std::abs(i / 16 - j / 16) <= 1 || random.sees(i, j);
      },
      "big bird");
}

TEST(BlockMask, HoldsEqualTilesOnce) {
  const BlockMask causal = BlockMask::causal(6400, 6400);
  EXPECT_EQ(causal.live_tiles(), 100 * 101 / 2);
  EXPECT_EQ(causal.partial_tiles(), 100);
  EXPECT_LT(causal.bytes(), 5050 * 8 + 101 * 8 + 2 * 512);
  const BlockMask dilated = BlockMask::strided(6400, 6400, 3);  // three phases, inside and at the end
  EXPECT_EQ(dilated.live_tiles(), 100 * 100);
  EXPECT_LT(dilated.bytes(), 10000 * 8 + 101 * 8 + 4 * 512);
  EXPECT_EQ(BlockMask::window(6400, 6400, 0, 0).live_tiles(), 100);
}

TEST(BlockMask, NamesWhatIsWrong) {
  EXPECT_ERROR(BlockMask::from_bitmap({}, 16, 16, 20, 20), ArgumentError,
               "[block_mask] expected a bitmap of 2 × 2 blocks, got 0 elements");
  EXPECT_ERROR(BlockMask::causal(-1, 4), ArgumentError,
               "[block_mask] expected lengths in [0, 2^31), got -1 queries and 4 keys");
  EXPECT_ERROR(BlockMask::causal(4, 4) | BlockMask::causal(4, 5), ArgumentError,
               "[block_mask] expected masks of equal lengths, got [4, 4] and [4, 5]");
  EXPECT_ERROR(BlockMask::strided(4, 4, 0), ArgumentError, "[block_mask] expected dilation >= 1, got 0");
  EXPECT_ERROR(BlockMask::causal(4, 4).sees(4, 0), ArgumentError,
               "[block_mask] expected a query in [0, 4) and a key in [0, 4), got 4 and 0");
  EXPECT_ERROR(big_bird(64, 16, 1, 2, 1, {}), ArgumentError,
               "[big_bird] expected an odd window of blocks, got 2");
}

}  // namespace
}  // namespace fovea::testing
