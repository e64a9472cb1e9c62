#include "fovea/base/parallel.hpp"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>

#include "base/check.hpp"
#include "base/thread_pool.hpp"

namespace fovea {
namespace {

std::atomic<int>& thread_limit() {
  static std::atomic<int> limit{std::max(1, std::min(omp_get_num_procs(), omp_get_max_threads()))};
  // A forked process has one thread, and is often one of many that share the cores.
  static const int hooked = pthread_atfork(nullptr, nullptr, [] {
    limit.store(1);
    omp_set_num_threads(1);  // what others that use OpenMP go by (oneDNN)
  });
  static_cast<void>(hooked);
  return limit;
}

// Keeps the exception of the lowest index, so that what the caller sees does not depend on timing.
class FirstError {
 public:
  void keep(int64_t index) {
    const std::lock_guard lock(mutex_);
    if (index < index_) {
      index_ = index;
      error_ = std::current_exception();
    }
    failed_.store(true, std::memory_order_relaxed);
  }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  int64_t index_ = std::numeric_limits<int64_t>::max();
  std::exception_ptr error_;
  std::atomic<bool> failed_{false};
};

// body(i) for each i, in order, on whichever thread comes for the next.
void each(int64_t n, int64_t threads, FunctionRef<void(int64_t)> body) {
  FirstError error;
  std::atomic<int64_t> next{0};
  const auto pull = [&] {
    while (!error.failed()) {
      const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= n) break;
      try {
        body(i);
      } catch (...) {
        error.keep(i);
      }
    }
  };
  ThreadPool::instance().run(static_cast<int>(threads) - 1, pull);
  error.rethrow();
}

}  // namespace

void set_num_threads(int n) {
  check_argument(n >= 1 && n <= 1024, "set_num_threads", "expected between 1 and 1024 threads, got {}", n);
  thread_limit().store(n);
  omp_set_num_threads(n);
}

int get_num_threads() {
  return thread_limit().load(std::memory_order_relaxed);
}

int thread_index() {
  return ThreadPool::thread_index();
}

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t grains = (n + grain - 1) / grain;
  const int64_t pieces = std::min<int64_t>(grains, get_num_threads());
  if (pieces <= 1 || ThreadPool::inside()) {
    body(0, n);
    return;
  }
  each(pieces, pieces, [&](int64_t piece) {
    const int64_t begin = std::min(n, grains * piece / pieces * grain);
    const int64_t end = std::min(n, grains * (piece + 1) / pieces * grain);
    if (begin < end) body(begin, end);
  });
}

void parallel_tasks(int64_t n, bool worth_threads, FunctionRef<void(int64_t)> body) {
  if (n <= 0) return;
  const int64_t threads = std::min<int64_t>(n, get_num_threads());
  if (threads <= 1 || !worth_threads || ThreadPool::inside()) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  each(n, threads, body);
}

}  // namespace fovea
