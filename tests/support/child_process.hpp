// A program that runs while the test goes on: with standard input held open, and signals sent to it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace fovea {

class ChildProcess {
 public:
  // `arguments` without quotes or spaces inside; standard error goes to `error_file`, standard output
  // nowhere.
  ChildProcess(const std::string& program, const std::string& arguments, std::filesystem::path error_file)
      : error_file_(std::move(error_file)) {
    if (pipe2(input_, O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ != 0) return;
    dup2(input_[0], STDIN_FILENO);
    dup2(open(error_file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    std::istringstream words(arguments);
    std::vector<std::string> split{program};
    for (std::string word; words >> word;) split.push_back(word);
    std::vector<char*> pointers;
    for (std::string& word : split) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    execv(program.c_str(), pointers.data());
    _exit(127);
  }
  ~ChildProcess() {
    if (!ended_) wait(0);
    close(input_[0]);
    close(input_[1]);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void send(int signal) const { kill(pid_, signal); }

  // Until the program has a handler for the signal, or has ended.
  void wait_for_handler(int signal) {
    while (!reap(WNOHANG)) {
      std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
      for (std::string line; std::getline(status, line);) {
        if (!line.starts_with("SigCgt:")) continue;
        if ((std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1U) != 0) return;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  // The exit code, 128 and the signal's number where one ended it, -1 where it still ran after so long (and
  // was then killed).
  int wait(double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!reap(WNOHANG)) {
      if (std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      kill(pid_, SIGKILL);
      reap(0);
      return -1;
    }
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }

  std::string error() const {
    std::ifstream stream(error_file_);
    std::ostringstream text;
    text << stream.rdbuf();
    return text.str();
  }

 private:
  bool reap(int options) {
    if (!ended_) ended_ = pid_ <= 0 || waitpid(pid_, &status_, options) == pid_;
    return ended_;
  }

  std::filesystem::path error_file_;
  int input_[2] = {-1, -1};
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

}  // namespace fovea
