#include "fovea/base/parallel.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
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

#if defined(__SANITIZE_THREAD__)
#define FOVEA_UNDER_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FOVEA_UNDER_THREAD_SANITIZER 1
#endif
#endif

TEST_P(Parallel, AForkedProcessMayAskForThreadsAgain) {
#if defined(FOVEA_UNDER_THREAD_SANITIZER)
  GTEST_SKIP() << "the sanitizer ends a forked process that starts threads";
#endif
  parallel_tasks(64, true, [](int64_t) {});
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    set_num_threads(GetParam());
    std::atomic<int> sum{0};
    for (int round = 0; round < 100; ++round) parallel_tasks(64, true, [&](int64_t) { ++sum; });
    _exit(sum == 6400 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_P(Parallel, ManyCallersAtOnceAllFinish) {
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        parallel_tasks(16, true, [&](int64_t i) { sum += i; });
        parallel_for(1000, 10, [&](int64_t begin, int64_t end) { sum += end - begin; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 200 * (120 + 1000));
}

TEST_P(Parallel, CallsFromInsideRunInPlace) {
  std::atomic<int> wrong{0};
  parallel_tasks(32, true, [&](int64_t) {
    const int outer = thread_index();
    const auto self = std::this_thread::get_id();
    if (outer < 0 || outer >= get_num_threads()) ++wrong;
    parallel_tasks(8, true, [&](int64_t) {
      if (std::this_thread::get_id() != self || thread_index() != outer) ++wrong;
    });
  });
  EXPECT_EQ(wrong, 0);
}

// Two threads that are at work at one time have two workspaces.
TEST_P(Parallel, IndicesOfThreadsAtWorkDiffer) {
  std::array<std::atomic<int>, 8> users{};
  std::atomic<int> shared{0};
  for (int round = 0; round < 300; ++round) {
    parallel_tasks(16, true, [&](int64_t) {
      std::atomic<int>& here = users[static_cast<size_t>(thread_index())];
      if (here.fetch_add(1) != 0) ++shared;
      std::this_thread::yield();
      here.fetch_sub(1);
    });
  }
  EXPECT_EQ(shared, 0);
}

// Longer pauses than any waiting thread stays awake.
TEST_P(Parallel, HelpersThatSleptComeBack) {
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::atomic<int> met{0};
    parallel_tasks(2, true, [&](int64_t) {
      ++met;
      if (get_num_threads() == 1) return;
      while (met < 2) std::this_thread::yield();  // ends only where two threads are at work
    });
    EXPECT_EQ(met, 2);
  }
}

TEST_P(Parallel, SignalsAreHandledOnTheProgramsOwnThreads) {
  std::atomic<int> open{0};
  parallel_tasks(64, true, [&](int64_t) {
    sigset_t held;
    pthread_sigmask(SIG_BLOCK, nullptr, &held);
    if (thread_index() > 0 && sigismember(&held, SIGALRM) == 0) ++open;
  });
  EXPECT_EQ(open, 0);
}

TEST(ParallelLimits, RejectsSillyThreadCounts) {
  EXPECT_THROW(set_num_threads(0), ArgumentError);
  EXPECT_THROW(set_num_threads(100000), ArgumentError);
}

}  // namespace
}  // namespace fovea
