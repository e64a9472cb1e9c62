#include "cli/console.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>

#include "cli/interrupt.hpp"
#include "cli/text.hpp"
#include "fovea/formats/printable.hpp"

namespace fovea::cli {
namespace {

constexpr double kTerminalInterval = 0.1;  // seconds: faster than eyes read, slow enough to cost nothing
constexpr double kPlainInterval = 5.0;     // a log of an hour stays under 1,000 lines

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

}  // namespace

ConsoleOptions console_options(bool quiet) {
  const char* term = std::getenv("TERM");
  const bool terminal = isatty(STDERR_FILENO) == 1 && (term == nullptr || std::string_view(term) != "dumb");
  return {.quiet = quiet, .terminal = terminal, .color = terminal && !is_set("NO_COLOR")};
}

Console::Console(ConsoleOptions options, std::FILE* stream, double (*now)())
    : options_(options), stream_(stream), now_(now) {}

Console::~Console() {
  clear_line();
}

double Console::steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool Console::stop_requested() {
  return interrupt_requested();
}

void Console::polls_for_stop(bool polls) {
  ask_for_interrupts(polls);
}

void Console::restart(const ProgressEvent& event, double now) {
  clear_line();
  stage_ = event.stage;
  first_done_ = event.done;
  first_tokens_ = event.tokens;
  stage_start_ = now;
  finished_ = false;
  last_shown_ = options_.terminal ? -1e9 : now;
}

void Console::progress(const ProgressEvent& event) {
  if (options_.quiet) return;
  const double now = now_();
  // Counting from the beginning again: the next model of a comparison.
  if (event.stage != stage_ || event.done < last_done_) restart(event, now);
  last_done_ = event.done;
  if (!event.message.empty()) print_line(formats::printable_lines(event.message));
  const bool finished = event.total > 0 && event.done >= event.total && !finished_;
  const double interval = options_.terminal ? kTerminalInterval : kPlainInterval;
  if (now - last_shown_ < interval && !finished) return;
  last_shown_ = now;
  finished_ = finished;
  const std::string line = progress_line(event, now - stage_start_, first_done_, first_tokens_);
  if (!options_.terminal) {
    print_line(line);
  } else if (options_.color) {
    fmt::print(stream_, "\r\x1b[2m{}\x1b[0m\x1b[K", line);
    line_open_ = true;
  } else {
    fmt::print(stream_, "\r{}\x1b[K", line);
    line_open_ = true;
  }
  std::fflush(stream_);
}

void Console::log(LogLevel level, std::string_view words) {
  if (options_.quiet || level == LogLevel::kDebug) return;
  const std::string message = formats::printable_lines(words);
  if (level == LogLevel::kInfo) {
    print_line(message);
    return;
  }
  const bool warning = level == LogLevel::kWarning;
  const std::string_view name = warning ? "warning:" : "error:";
  if (options_.color) {
    print_line(fmt::format("\x1b[{}m{}\x1b[0m {}", warning ? 33 : 31, name, message));
  } else {
    print_line(fmt::format("{} {}", name, message));
  }
}

void Console::clear_line() {
  if (!line_open_) return;
  fmt::print(stream_, "\r\x1b[K");
  std::fflush(stream_);
  line_open_ = false;
}

void Console::print_line(std::string_view line) {
  clear_line();
  while (line.ends_with('\n')) line.remove_suffix(1);
  fmt::print(stream_, "{}\n", line);
  std::fflush(stream_);
}

std::string progress_line(const ProgressEvent& event, double elapsed, int64_t first_done,
                          int64_t first_tokens) {
  std::string line(event.stage);
  if (event.total > 0) {
    line +=
        fmt::format("  {}/{} ({:.0f} %)", with_commas(event.done), with_commas(event.total),
                    std::floor(100.0 * static_cast<double>(event.done) / static_cast<double>(event.total)));
  } else {
    line += fmt::format("  {}", with_commas(event.done));
  }
  if (!std::isnan(event.loss)) line += fmt::format("  loss {:.3f}", event.loss);
  if (elapsed > 0 && event.tokens > first_tokens) {
    line +=
        fmt::format("  {} tokens/s", short_count(static_cast<double>(event.tokens - first_tokens) / elapsed));
  }
  if (elapsed > 0 && event.total > event.done && event.done > first_done) {
    const double rate = static_cast<double>(event.done - first_done) / elapsed;
    line += fmt::format("  ETA {}", clock_time(static_cast<double>(event.total - event.done) / rate));
  }
  return line;
}

}  // namespace fovea::cli
