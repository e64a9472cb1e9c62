// A program that is written to and read from line by line while it runs.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

namespace fovea {

// A shell line with both ends of its streams in our hands.
class Conversation {
 public:
  explicit Conversation(const std::string& command) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) std::abort();
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(out[1], STDOUT_FILENO);
      ::execl("/bin/sh", "sh", "-c", ("exec env " + command).c_str(), nullptr);
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Conversation() {
    close_input();
    ::close(out_);
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  void write(std::string_view bytes) {
    ASSERT_EQ(::write(in_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  void close_input() {
    if (in_ >= 0) ::close(in_);
    in_ = -1;
  }
  // The next line; "(nothing)" at the end or when none comes within half a minute.
  std::string line() {
    std::string text;
    char c = 0;
    pollfd wanted{out_, POLLIN, 0};
    while (::poll(&wanted, 1, 30'000) == 1 && ::read(out_, &c, 1) == 1) {
      if (c == '\n') return text;
      text += c;
    }
    return "(nothing)";
  }

 private:
  pid_t process_ = -1;
  int in_ = -1, out_ = -1;
};

}  // namespace fovea
