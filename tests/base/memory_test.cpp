#include "fovea/base/memory.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "fovea/base/random.hpp"

namespace fovea {
namespace {

TEST(Memory, BlocksAreAlignedAndWritableAtEverySize) {
  for (size_t bytes :
       {0u, 1u, 63u, 64u, 65u, 511u, 512u, 513u, 576u, 577u, 1000u, 4096u, 4097u, 100000u, 5000000u}) {
    void* p = pool_allocate(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % kAlignment, 0u) << bytes;
    std::memset(p, 0xAB, bytes);
    pool_free(p, bytes);
  }
}

TEST(Memory, ReusesFreedBlocksWithoutAskingTheSystem) {
  pool_free(pool_allocate(12345), 12345);
  const auto before = memory_stats().system_allocations;
  for (int i = 0; i < 100; ++i) pool_free(pool_allocate(12345), 12345);
  EXPECT_EQ(memory_stats().system_allocations, before);
}

TEST(Memory, RoundingWastesAtMostAnEighth) {
  for (size_t bytes = 577; bytes < 3000000; bytes = bytes * 21 / 20 + 1) {
    const auto before = memory_stats().bytes_in_use;
    void* p = pool_allocate(bytes);
    const auto got = memory_stats().bytes_in_use - before;
    EXPECT_GE(got, static_cast<int64_t>(bytes));
    EXPECT_LE(got, static_cast<int64_t>(bytes + bytes / 8 + 64)) << bytes;
    pool_free(p, bytes);
  }
}

TEST(Memory, FreedLargeBlockServesSeveralSmallerOnesAndIsWholeAgain) {
  constexpr size_t kWhole = size_t{12} << 20;
  constexpr size_t kPart = size_t{2} << 20;
  release_cached_memory();
  pool_free(pool_allocate(kWhole), kWhole);
  const auto before = memory_stats();
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> parts;
    for (size_t i = 0; i < kWhole / kPart; ++i) {
      parts.push_back(pool_allocate(kPart));
      std::memset(parts.back(), static_cast<int>(i), kPart);
    }
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto* bytes = static_cast<const unsigned char*>(parts[i]);
      EXPECT_TRUE(bytes[0] == i && bytes[kPart - 1] == i) << "piece " << i << " overlaps another";
    }
    // Freed in another order than they were taken.
    for (const size_t i : {3u, 0u, 5u, 1u, 4u, 2u}) pool_free(parts[i], kPart);
    pool_free(pool_allocate(kWhole), kWhole);
  }
  EXPECT_EQ(memory_stats().system_allocations, before.system_allocations);
  EXPECT_EQ(memory_stats().bytes_reserved, before.bytes_reserved);
}

TEST(Memory, ThreadsShareThePoolWithoutOverlaps) {
  const auto before = memory_stats().bytes_in_use;
  std::atomic<int> overlaps{0};
  std::vector<std::thread> threads;
  for (uint64_t id = 0; id < 4; ++id) {
    threads.emplace_back([id, &overlaps] {
      struct Block {
        unsigned char* bytes;
        size_t size;
        unsigned char mark;
      };
      Random random(id);
      std::vector<Block> held;
      for (int i = 0; i < 400; ++i) {
        if (held.size() < 6) {
          // A third are large: 1 to 4 MiB, of sizes that cut one another's remains.
          const size_t size = random.below(3) == 0 ? (size_t{1} << 20) + random.below(size_t{3} << 20)
                                                   : 1 + random.below(5000);
          auto* bytes = static_cast<unsigned char*>(pool_allocate(size));
          held.push_back({bytes, size, static_cast<unsigned char>(random.below(256))});
          bytes[0] = bytes[size / 2] = bytes[size - 1] = held.back().mark;
        } else {
          const auto at = held.begin() + static_cast<std::ptrdiff_t>(random.below(held.size()));
          for (const size_t k : {size_t{0}, at->size / 2, at->size - 1}) overlaps += at->bytes[k] != at->mark;
          pool_free(at->bytes, at->size);
          held.erase(at);
        }
      }
      for (const Block& block : held) pool_free(block.bytes, block.size);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(overlaps, 0);
  EXPECT_EQ(memory_stats().bytes_in_use, before);
}

TEST(Memory, ReleaseGivesBackWhatIsNotInUse) {
  constexpr size_t kSize = size_t{3} << 20;
  release_cached_memory();
  const auto before = memory_stats();
  void* held = pool_allocate(kSize);
  pool_free(pool_allocate(2 * kSize), 2 * kSize);
  void* part = pool_allocate(kSize);  // cut from the freed one, which therefore stays
  pool_free(pool_allocate(1000), 1000);
  release_cached_memory();
  EXPECT_EQ(memory_stats().bytes_reserved - before.bytes_reserved, static_cast<int64_t>(3 * kSize));
  pool_free(part, kSize);
  pool_free(held, kSize);
  release_cached_memory();
  EXPECT_EQ(memory_stats().bytes_reserved, before.bytes_reserved);
  EXPECT_EQ(memory_stats().bytes_in_use, before.bytes_in_use);
}

TEST(Memory, TensorsOfRoundSizesWasteOneLine) {
  for (const size_t bytes : {size_t{1} << 16, size_t{393216}, size_t{768} << 10}) {
    const auto before = memory_stats().bytes_in_use;
    void* p = pool_allocate(bytes + kAlignment);
    EXPECT_EQ(memory_stats().bytes_in_use - before, static_cast<int64_t>(bytes + kAlignment));
    pool_free(p, bytes + kAlignment);
  }
}

TEST(Memory, PeakIsTracked) {
  reset_peak_memory();
  const auto before = memory_stats().peak_bytes_in_use;
  { Buffer<float> b(1 << 20); }
  EXPECT_GE(memory_stats().peak_bytes_in_use - before, int64_t{4} << 20);
}

}  // namespace
}  // namespace fovea
