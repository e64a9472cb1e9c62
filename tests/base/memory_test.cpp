#include "fovea/base/memory.hpp"

#include <gtest/gtest.h>

#include <cstring>

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

TEST(Memory, PeakIsTracked) {
  reset_peak_memory();
  const auto before = memory_stats().peak_bytes_in_use;
  { Buffer<float> b(1 << 20); }
  EXPECT_GE(memory_stats().peak_bytes_in_use - before, int64_t{4} << 20);
}

}  // namespace
}  // namespace fovea
