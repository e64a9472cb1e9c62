// Runs a program as a shell would, and keeps what it printed.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace fovea {

struct CommandResult {
  int code = 0;
  std::string out;
  std::string err;
};

// `command` is a shell line; standard input is empty.
inline CommandResult run_command(const std::string& command) {
  static int counter = 0;
  const auto base = std::filesystem::temp_directory_path() /
                    ("fovea_run_" + std::to_string(getpid()) + "_" + std::to_string(counter++));
  const std::string out = base.string() + ".out";
  const std::string err = base.string() + ".err";
  const int status = std::system(("( " + command + " ) >" + out + " 2>" + err + " </dev/null").c_str());
  const auto take = [](const std::string& path) {
    std::ifstream stream(path);
    std::ostringstream text;
    text << stream.rdbuf();
    std::filesystem::remove(path);
    return text.str();
  };
  CommandResult result;
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = take(out);
  result.err = take(err);
  return result;
}

}  // namespace fovea
