#include "base/thread_pool.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <chrono>
#include <system_error>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fovea {
namespace {

using Clock = std::chrono::steady_clock;

// Awake and alone on the core: two or three times what waking a thread costs.
constexpr auto kSpin = std::chrono::microseconds(20);
// Awake, but anyone else who wants the core has it: the pauses between the regions of a training step.
constexpr auto kYield = std::chrono::milliseconds(2);
// A yield that took longer has let somebody else run. The scheduler gives a core back to who woke up at once,
// to who yielded only when the other's slice of some milliseconds is over: for a while, waiting is done
// asleep.
constexpr auto kAlone = std::chrono::microseconds(100);
constexpr auto kCrowded = std::chrono::milliseconds(50);
constexpr uint64_t kPlace = uint64_t{1} << 32;
constexpr uint64_t kInside = kPlace - 1;

thread_local bool in_body = false;
thread_local Clock::time_point crowded_until{};
thread_local int index_here = 0;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits awake until ready(), at most so long; whether it became ready.
template <class Ready>
bool wait_awake(Ready&& ready) {
  const auto start = Clock::now();
  for (;;) {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause();
    }
    const auto now = Clock::now();
    if (now - start >= kYield) return false;
    if (now - start < kSpin) continue;
    if (now < crowded_until) return false;
    sched_yield();
    const auto back = Clock::now();
    if (back - now > kAlone) crowded_until = back + kCrowded;
  }
}

std::atomic<ThreadPool*>& current() {
  static std::atomic<ThreadPool*> pool{nullptr};
  return pool;
}

}  // namespace

ThreadPool& ThreadPool::instance() {
  // Threads do not follow into a forked process, and locks may be held there for ever.
  static const int hooked = pthread_atfork(nullptr, nullptr, [] {
    current().store(nullptr);
    in_body = false;
  });
  static_cast<void>(hooked);
  ThreadPool* pool = current().load(std::memory_order_acquire);
  if (pool != nullptr) return *pool;
  auto* made = new ThreadPool;
  if (current().compare_exchange_strong(pool, made)) return *made;
  delete made;
  return *pool;
}

bool ThreadPool::inside() {
  return in_body;
}

int ThreadPool::thread_index() {
  return index_here;
}

void ThreadPool::start_helpers(int count) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    while (started_.load(std::memory_order_relaxed) < count) {
      std::thread([this] { help(); }).detach();
      started_.fetch_add(1, std::memory_order_relaxed);
    }
  } catch (const std::system_error&) {
    // The system gives no more threads: those that there are do the work.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool ThreadPool::wanted() const {
  return state_.load(std::memory_order_seq_cst) >= kPlace;
}

bool ThreadPool::join(const FunctionRef<void()>*& body, int& index) {
  uint64_t state = state_.load(std::memory_order_acquire);
  while (state >= kPlace) {
    if (!state_.compare_exchange_weak(state, state - kPlace + 1, std::memory_order_acq_rel)) continue;
    body = body_;
    index = helpers_ - static_cast<int>(state / kPlace) + 1;
    return true;
  }
  return false;
}

void ThreadPool::wait_for_work() {
  if (wait_awake([this] { return wanted(); })) return;
  std::unique_lock lock(sleep_);
  asleep_.fetch_add(1, std::memory_order_seq_cst);
  work_.wait(lock, [this] { return wanted(); });
  asleep_.fetch_sub(1, std::memory_order_relaxed);
}

void ThreadPool::help() {
  in_body = true;
  const FunctionRef<void()>* body = nullptr;
  for (;;) {
    wait_for_work();
    if (!join(body, index_here)) continue;
    (*body)();
    const uint64_t before = state_.fetch_sub(1, std::memory_order_seq_cst);
    if ((before & kInside) == 1 && caller_sleeps_.load(std::memory_order_seq_cst)) {
      const std::lock_guard lock(sleep_);
      done_.notify_one();
    }
  }
}

void ThreadPool::run(int helpers, FunctionRef<void()> body) {
  std::unique_lock caller(caller_, std::defer_lock);
  if (helpers <= 0 || in_body || !caller.try_lock()) {
    body();
    return;
  }
  if (started_.load(std::memory_order_relaxed) < helpers) start_helpers(helpers);
  body_ = &body;
  helpers_ = helpers;
  state_.store(static_cast<uint64_t>(helpers) * kPlace, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) > 0) {
    const std::lock_guard lock(sleep_);
    for (int i = 0; i < helpers; ++i) work_.notify_one();
  }
  in_body = true;
  body();
  in_body = false;
  state_.fetch_and(kInside, std::memory_order_seq_cst);  // who has not come by now is not needed
  const auto left = [this] { return (state_.load(std::memory_order_seq_cst) & kInside) == 0; };
  if (wait_awake(left)) return;
  std::unique_lock lock(sleep_);
  caller_sleeps_.store(true, std::memory_order_seq_cst);
  done_.wait(lock, left);
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

}  // namespace fovea
