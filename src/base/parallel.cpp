#include "fovea/base/parallel.hpp"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <limits>
#include <mutex>

#include "base/check.hpp"

namespace fovea {
namespace {

std::atomic<int>& thread_limit() {
  static std::atomic<int> limit{std::max(1, std::min(omp_get_num_procs(), omp_get_max_threads()))};
  // A forked process has OpenMP's pool but none of its threads, and would wait for them for ever.
  static const int hooked = pthread_atfork(nullptr, nullptr, [] {
    limit.store(1);
    omp_set_num_threads(1);  // what others that share the pool go by (oneDNN)
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
  return omp_get_thread_num();
}

void parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t pieces = std::min<int64_t>((n + grain - 1) / grain, get_num_threads());
  if (pieces <= 1 || omp_in_parallel()) {
    body(0, n);
    return;
  }
  const int64_t grains = (n + grain - 1) / grain;
  FirstError error;
#pragma omp parallel for num_threads(static_cast<int>(pieces)) schedule(static, 1)
  for (int64_t piece = 0; piece < pieces; ++piece) {
    const int64_t begin = std::min(n, grains * piece / pieces * grain);
    const int64_t end = std::min(n, grains * (piece + 1) / pieces * grain);
    try {
      if (begin < end) body(begin, end);
    } catch (...) {
      error.keep(piece);
    }
  }
  error.rethrow();
}

void parallel_tasks(int64_t n, bool worth_threads, FunctionRef<void(int64_t)> body) {
  if (n <= 0) return;
  const int64_t threads = std::min<int64_t>(n, get_num_threads());
  if (threads <= 1 || !worth_threads || omp_in_parallel()) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  FirstError error;
  std::atomic<int64_t> next{0};
#pragma omp parallel num_threads(static_cast<int>(threads))
  while (!error.failed()) {
    const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
    if (i >= n) break;
    try {
      body(i);
    } catch (...) {
      error.keep(i);
    }
  }
  error.rethrow();
}

}  // namespace fovea
