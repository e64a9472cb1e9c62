// Keeps the calling thread's signals waiting.
#pragma once

#include <csignal>

namespace fovea::kernels {

// While it lives, signals wait before they are handled on the calling thread. oneDNN's machine code (version
// 2.6, Debian's) keeps data below the stack pointer, where the system puts a handler's frame: a handler that
// ran on this thread's stack meanwhile would overwrite operands and saved registers. Those that this thread's
// own instructions raise, and SIGABRT, are let through: held back, the system would end the process without
// its handler, such as a test's or Python's faulthandler. Costs two calls of the system, 0.2 microseconds.
class HeldSignals {
 public:
  HeldSignals() {
    sigset_t held;
    sigfillset(&held);
    for (const int raised : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&held, raised);
    pthread_sigmask(SIG_BLOCK, &held, &before_);
  }
  ~HeldSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace fovea::kernels
