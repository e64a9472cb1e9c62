// The command line's one entrance, apart from app.hpp so that main() need not compile CLI11.
#pragma once

namespace fovea::cli {

// Runs `fovea` with the arguments of main(); the exit code. Never throws.
int run(int argc, const char* const* argv);

}  // namespace fovea::cli
