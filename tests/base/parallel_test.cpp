#include "fovea/base/parallel.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "fovea/base/error.hpp"

namespace fovea {
namespace {

class Parallel : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_num_threads(GetParam()); }
  void TearDown() override { set_num_threads(before_); }
  int before_ = get_num_threads();
};

TEST_P(Parallel, ForCoversEveryIndexOnce) {
  for (const int64_t n : {0, 1, 7, 16, 17, 1000}) {
    for (const int64_t grain : {1, 16, 2000}) {
      std::vector<int> seen(static_cast<size_t>(n), 0);
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        EXPECT_TRUE(begin % grain == 0);
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      EXPECT_EQ(seen, std::vector<int>(static_cast<size_t>(n), 1)) << n << " " << grain;
    }
  }
}

TEST_P(Parallel, TasksCoverEveryIndexOnce) {
  std::vector<int> seen(100, 0);
  parallel_tasks(100, true, [&](int64_t i) { ++seen[static_cast<size_t>(i)]; });
  EXPECT_EQ(seen, std::vector<int>(100, 1));
}

TEST_P(Parallel, WorkerExceptionReachesTheCaller) {
  EXPECT_THROW(parallel_tasks(100, true,
                              [](int64_t i) {
                                if (i == 50) throw DataError("boom");
                              }),
               DataError);
  EXPECT_THROW(parallel_for(100, 1,
                            [](int64_t, int64_t end) {
                              if (end > 50) throw ArgumentError("boom");
                            }),
               ArgumentError);
}

INSTANTIATE_TEST_SUITE_P(Threads, Parallel, testing::Values(1, 2, 3, 8));

TEST_P(Parallel, AForkedProcessWorksOnInsteadOfWaitingForThreadsThatStayedBehind) {
  std::atomic<int> sum{0};
  const auto work = [&] { parallel_tasks(64, true, [&](int64_t i) { sum += static_cast<int>(i); }); };
  work();
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    sum = 0;
    work();
    _exit(sum == 64 * 63 / 2 && get_num_threads() == 1 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(get_num_threads(), GetParam());
}

TEST(ParallelLimits, RejectsSillyThreadCounts) {
  EXPECT_THROW(set_num_threads(0), ArgumentError);
  EXPECT_THROW(set_num_threads(100000), ArgumentError);
}

}  // namespace
}  // namespace fovea
