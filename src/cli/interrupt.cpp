#include "cli/interrupt.hpp"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <exception>

#include "cli/options.hpp"

namespace fovea::cli {
namespace {

// Lock-free, so that a handler may touch them.
std::atomic<bool> requested{false};
std::atomic<bool> asked{false};
std::atomic<bool> on_terminal{false};
static_assert(std::atomic<bool>::is_always_lock_free);

// Only what a handler may call. The line that a terminal may show half is taken away first.
[[noreturn]] void end_now() {
  constexpr char kLine[] = "\r\x1b[Kfovea: stopped\n";
  constexpr size_t kTakeAway = 4;
  const size_t skipped = on_terminal.load() ? 0 : kTakeAway;
  static_cast<void>(!write(STDERR_FILENO, kLine + skipped, sizeof(kLine) - 1 - skipped));
  _exit(kInterrupted);
}

extern "C" void on_interrupt(int) {
  requested.store(true);
  if (!asked.load()) end_now();
}

}  // namespace

void catch_interrupts() {
  on_terminal.store(isatty(STDERR_FILENO) == 1);
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);  // one shot: the second Ctrl-C kills
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void ask_for_interrupts(bool asks) {
  asked.store(asks);
  if (!asks && requested.load() && std::uncaught_exceptions() == 0) end_now();
}

bool interrupt_requested() {
  return requested.load();
}

}  // namespace fovea::cli
