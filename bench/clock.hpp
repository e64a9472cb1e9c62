// The clock of the profiles.
#pragma once

#include <ctime>

namespace fovea::bench {

// Processor time of this process in seconds: what a profile on one thread is measured in, so that a busy
// machine does not disturb it.
inline double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

}  // namespace fovea::bench
