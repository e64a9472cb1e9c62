#include "cli/interrupt.hpp"

#include <csignal>

namespace fovea::cli {
namespace {

volatile std::sig_atomic_t requested = 0;

extern "C" void on_interrupt(int) {
  requested = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);  // one shot: the second Ctrl-C kills
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupt_requested() {
  return requested != 0;
}

}  // namespace fovea::cli
