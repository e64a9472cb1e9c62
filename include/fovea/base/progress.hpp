// Where long work reports to. The library never prints: the host (command line, Python, a server) gives a
// sink.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fovea {

// How much a message matters, from what only developers read up to what nobody should miss.
enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Receives messages; called from the thread that does the work. The default sink drops everything.
class LogSink {
 public:
  virtual ~LogSink() = default;
  // One message, of a line or more. The view is valid during the call only.
  virtual void log(LogLevel level, std::string_view message) = 0;
};

// A moment of long work. Rates and ETA are the sink's to derive from `done`, `total` and its own clock.
struct ProgressEvent {
  std::string_view stage;         // "train", "tokenize", …
  int64_t done = 0;               // units finished
  int64_t total = 0;              // 0 when unknown
  int64_t tokens = 0;             // tokens processed so far, 0 where the word means nothing
  double loss = 0.0;              // the last loss, NaN where there is none
  std::string_view message = {};  // "validation: accuracy 0.79", may be empty
};

// Receives progress, and hands the wish to stop to the work. Called from the thread that does the work.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;
  // A moment; the views in it are valid during the call only.
  virtual void progress(const ProgressEvent& event) = 0;
  // Polled between steps; true asks the work to save and unwind with Interrupted.
  virtual bool stop_requested() { return false; }
  // Told when work begins, and ends, that polls stop_requested() and then saves its state: meanwhile a host
  // may leave a wish to stop to it, where it else would end the work itself.
  virtual void polls_for_stop(bool polls) { static_cast<void>(polls); }
};

// Tells a sink (null: none) so for as long as it lives.
class PollsForStop {
 public:
  // `sink` must outlive this.
  explicit PollsForStop(ProgressSink* sink) : sink_(sink) {
    if (sink_ != nullptr) sink_->polls_for_stop(true);
  }
  ~PollsForStop() {
    if (sink_ != nullptr) sink_->polls_for_stop(false);
  }
  PollsForStop(const PollsForStop&) = delete;
  PollsForStop& operator=(const PollsForStop&) = delete;

 private:
  ProgressSink* sink_;
};

}  // namespace fovea
