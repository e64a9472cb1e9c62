// Caches of keys and values: what they hold, share and let go.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/attention/kv_cache.hpp"
#include "fovea/base/error.hpp"
#include "tests/attention/decode_problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

TEST(KvCache, HoldsWhatItsTypeCanHold) {
  constexpr int64_t kTokens = 317;
  const Tensor k = random_tensor(1, {kTokens, 3, 10}), v = random_tensor(2, {kTokens, 3, 5});
  const auto holds = [&](CacheType type, int64_t block) {
    KvCache cache({3, 10, 5, type, block, 0});
    cache.append(view_of(k), view_of(v));
    ASSERT_EQ(cache.length(), kTokens);
    ASSERT_EQ(cache.blocks(), (kTokens + block - 1) / block);
    std::vector<float> key(30), value(15);
    for (int64_t i = 0; i < kTokens; ++i) {
      cache.read(i, key.data(), value.data());
      for (int64_t h = 0; h < 3; ++h) {
        float most = 0;
        for (int64_t c = 0; c < 10; ++c) most = std::max(most, std::abs(k.data()[(i * 3 + h) * 10 + c]));
        for (int64_t c = 0; c < 10; ++c) {
          const float want = k.data()[(i * 3 + h) * 10 + c], got = key[static_cast<size_t>(h * 10 + c)];
          switch (type) {
            case CacheType::kF32:
              ASSERT_EQ(got, want);
              break;
            case CacheType::kBF16:
              ASSERT_EQ(got, static_cast<float>(BFloat16(want)));
              break;
            case CacheType::kF16:
              ASSERT_EQ(got, static_cast<float>(Float16(want)));
              break;
            case CacheType::kInt8:  // half a step of max / 127, and float32 roundings
              ASSERT_NEAR(got, want, most / 254.0f * 1.0001f);
              break;
          }
        }
      }
      for (int64_t c = 0; c < 15; ++c)
        ASSERT_NEAR(value[static_cast<size_t>(c)], v.data()[i * 15 + c],
                    type == CacheType::kF32 ? 0.0f : 0.02f);
    }
  };
  for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
    for (const int64_t block : {1, 8, 150, 512}) holds(type, block);
  }
}

TEST(KvCache, ForksShareBlocksUntilTheyDiffer) {
  const Tensor k = random_tensor(1, {20, 1, 4}), v = random_tensor(2, {20, 1, 4}),
               other = random_tensor(3, {2, 1, 4});
  KvCache cache({1, 4, 4, CacheType::kF32, 16, 0});
  cache.append(view_of(k), view_of(v));
  KvCache fork = cache.fork();
  const void* last = cache.run_at(16, 20).memory;
  EXPECT_EQ(fork.run_at(16, 20).memory, last);
  fork.append(view_of(other), view_of(other));
  EXPECT_NE(fork.run_at(16, 20).memory, last);                       // the shared last block was copied …
  EXPECT_EQ(fork.run_at(0, 16).memory, cache.run_at(0, 16).memory);  // … the full one is still shared
  EXPECT_EQ(cache.length(), 20);
  EXPECT_EQ(fork.length(), 22);
  float a[4], b[4], value[4];
  cache.append(view_of(k.rows(0, 1)), view_of(v.rows(0, 1)));
  fork.read(20, a, value);
  cache.read(20, b, value);
  EXPECT_EQ(a[0], other.data()[0]);
  EXPECT_EQ(b[0], k.data()[0]);
  fork.read(17, a, value);
  EXPECT_EQ(a[2], k.data()[17 * 4 + 2]);
}

TEST(KvCache, SlidesWithoutCopying) {
  KvCache cache({1, 4, 4, CacheType::kF32, 8, 10});
  for (int64_t t = 0; t < 50; ++t) {
    const Tensor k = Tensor::full({1, 1, 4}, static_cast<double>(t));
    cache.append(view_of(k), view_of(k));
    ASSERT_EQ(cache.length(), std::min<int64_t>(t + 1, 10));
    ASSERT_EQ(cache.position() + cache.length(), t + 1);
    ASSERT_LE(cache.blocks(), 3);
    float k0[4], v0[4];
    cache.read(0, k0, v0);
    ASSERT_EQ(k0[0], static_cast<float>(std::max<int64_t>(0, t - 9)));
  }
  cache.evict(10);
  EXPECT_EQ(cache.length(), 0);
}

TEST(KvCache, NamesWhatIsWrong) {
  EXPECT_ERROR(KvCache({.kv_heads = 0}), ArgumentError, "[KvCache] expected at least one head, got 0");
  EXPECT_ERROR(KvCache({.width = 1025}), ArgumentError,
               "[KvCache] expected widths between 1 and 1024, got 1025 and 64");
  KvCache cache({1, 4, 4, CacheType::kF32, 8, 0});
  const Tensor k = Tensor::zeros({2, 1, 4}), v = Tensor::zeros({3, 1, 4});
  EXPECT_ERROR(cache.append(view_of(k), view_of(v)), ArgumentError,
               "[KvCache.append] expected v [2, 1, 4] with an innermost stride of 1, got [3, 1, 4]");
  EXPECT_ERROR(cache.evict(1), ArgumentError, "[KvCache.evict] expected between 0 and 0 tokens, got 1");
}

}  // namespace
}  // namespace fovea::testing
