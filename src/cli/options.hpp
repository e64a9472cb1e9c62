// What every command is given: the options that hold everywhere.
#pragma once

#include <cstdint>
#include <string>

namespace fovea::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;         // bad data, bad model, target not met
inline constexpr int kWrongCall = 2;      // an option or argument
inline constexpr int kInterrupted = 130;  // 128 + SIGINT, as shells report it

struct CommonOptions {
  bool json = false;   // the result as JSON on standard output
  bool quiet = false;  // no progress, no log; errors stay
  int threads = 0;     // 0: every core this process may run on
  int64_t seed = 0;
  bool seed_given = false;
};

}  // namespace fovea::cli
