// The threads that parallel_for and parallel_tasks share: a caller and helpers who join while they are
// wanted. Nobody waits for a helper that has not begun: the caller does its share. Helpers wait for the next
// work awake for a moment, for regions of ten microseconds follow each other, then leave their core to
// whoever wants it, then sleep. Signals are handled on the program's own threads, never on a helper.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "fovea/base/function_ref.hpp"

namespace fovea {

class ThreadPool {
 public:
  // The process's pool, never destroyed. A forked process begins with a new one.
  static ThreadPool& instance();

  // Calls body() on the calling thread, and on up to `helpers` others that come while it runs; returns when
  // all have returned. body must not throw, and must return at once where nothing is left to do. Alone on the
  // calling thread where another thread is inside run(), or where this is called from a body.
  void run(int helpers, FunctionRef<void()> body);

  static bool inside();       // of a body
  static int thread_index();  // 0 for the caller, 1 … helpers for those who joined

 private:
  void start_helpers(int count);
  void help();
  bool join(const FunctionRef<void()>*& body, int& index);
  bool wanted() const;
  void wait_for_work();

  // Open places in the upper half, helpers inside in the lower one.
  std::atomic<uint64_t> state_{0};
  const FunctionRef<void()>* body_ = nullptr;  // of the caller; written only while nobody is inside
  int helpers_ = 0;
  std::mutex caller_;  // held by the one caller
  std::atomic<int> started_{0};
  std::atomic<int> asleep_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::mutex sleep_;
  std::condition_variable work_, done_;
};

}  // namespace fovea
