// A storm of signals while it lives: a timer whose handler runs on the ordinary stack of whatever thread it
// finds, and writes there.
#pragma once

#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <cstring>

namespace fovea::testing {

class SignalStorm {
 public:
  explicit SignalStorm(int microseconds = 100) {
    struct sigaction action {};
    action.sa_handler = [](int) {
      volatile char scribble[2048];
      for (volatile char& byte : scribble) byte = static_cast<char>(0xA5);
      count_.fetch_add(1, std::memory_order_relaxed);
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, &before_);
    count_ = 0;
    const itimerval timer{{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, nullptr);
  }
  ~SignalStorm() {
    const itimerval none{};
    setitimer(ITIMER_REAL, &none, nullptr);
    sigaction(SIGALRM, &before_, nullptr);
  }
  SignalStorm(const SignalStorm&) = delete;
  SignalStorm& operator=(const SignalStorm&) = delete;

  static int delivered() { return count_.load(std::memory_order_relaxed); }

 private:
  static inline std::atomic<int> count_{0};
  struct sigaction before_ {};
};

}  // namespace fovea::testing
