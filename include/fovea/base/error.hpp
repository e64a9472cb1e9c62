// The two errors that Fovea throws. Both carry one line: what was expected, what was found, what to do.
#pragma once

#include <stdexcept>
#include <string>

namespace fovea {

// Misuse of a call: a shape, a dtype, an option. The message begins with the call's name in brackets:
// "[attention] expected k and v of equal length, got k [2, 8, 128, 64] and v [2, 8, 120, 64]".
class ArgumentError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Bad data from outside: a file, a table, a checkpoint, a recipe. The message begins with the path and, where
// there is one, the line or byte: "data.csv:17: expected 3 fields, found 4; quote fields that hold a comma".
class DataError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The host asked long work to stop (see progress.hpp). Work unwinds at the next safe point, keeping what it
// saved.
class Interrupted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace fovea
