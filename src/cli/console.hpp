// Where progress and log go on the command line: standard error, one rewritten line on a terminal, plain
// lines every few seconds otherwise. Colours only on a terminal and without NO_COLOR. Used from one thread.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#include "fovea/base/function_ref.hpp"
#include "fovea/base/progress.hpp"

namespace fovea::cli {

struct ConsoleOptions {
  bool quiet = false;
  bool terminal = false;  // rewrite one line
  bool color = false;
};

// Terminal and colour as standard error and the environment (TERM=dumb, NO_COLOR) ask.
ConsoleOptions console_options(bool quiet);

class Console : public ProgressSink, public LogSink {
 public:
  // Writes to `stream`, which must outlive the console. `now` gives seconds of a steady clock.
  explicit Console(ConsoleOptions options, std::FILE* stream = stderr, double (*now)() = &steady_seconds);
  ~Console() override;

  void progress(const ProgressEvent& event) override;
  // True after the first Ctrl-C (see interrupt.hpp).
  bool stop_requested() override;
  void polls_for_stop(bool polls) override;
  // Debug messages are dropped; warnings and errors are named as such.
  void log(LogLevel level, std::string_view message) override;

  // Takes the rewritten line away, before a result or an error is printed.
  void clear_line();

  static double steady_seconds();

 private:
  void print_line(std::string_view line);
  void restart(const ProgressEvent& event, double now);

  ConsoleOptions options_;
  std::FILE* stream_;
  double (*now_)();
  std::string stage_;
  int64_t first_done_ = 0;  // where this stage began: a resumed run does not begin at 0
  int64_t last_done_ = 0;
  int64_t first_tokens_ = 0;
  double stage_start_ = 0;
  double last_shown_ = -1e9;
  bool line_open_ = false;
  bool finished_ = false;  // this stage's last line was shown
};

// "train  1,200/8,000 (15 %)  loss 0.812  45.1k tokens/s  ETA 1:02". Rates count what was done since the
// stage began, `elapsed` seconds ago, at `first_done` units and `first_tokens` tokens.
std::string progress_line(const ProgressEvent& event, double elapsed, int64_t first_done,
                          int64_t first_tokens);

}  // namespace fovea::cli
