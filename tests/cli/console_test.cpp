#include "cli/console.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/base/progress.hpp"

namespace fovea::cli {
namespace {

constexpr double kNoLoss = std::numeric_limits<double>::quiet_NaN();
double test_clock = 0;

// What a console writes into a temporary file.
class ConsoleTest : public testing::Test {
 protected:
  void SetUp() override {
    test_clock = 0;
    stream_ = std::tmpfile();
    ASSERT_NE(stream_, nullptr);
  }
  void TearDown() override { std::fclose(stream_); }

  Console make(ConsoleOptions options) {
    return Console(options, stream_, [] { return test_clock; });
  }
  std::string written() {
    std::string text;
    std::rewind(stream_);
    for (int c = std::fgetc(stream_); c != EOF; c = std::fgetc(stream_)) text += static_cast<char>(c);
    return text;
  }

  std::FILE* stream_ = nullptr;
};

TEST(ProgressLine, StatesRateAndRemainingTime) {
  const ProgressEvent event{.stage = "train", .done = 1200, .total = 8000, .tokens = 500'000, .loss = 0.8123};
  EXPECT_EQ(progress_line(event, 10, 0, 0),
            "train  1,200/8,000 (15 %)  loss 0.812  50.0k tokens/s  ETA 0:57");
}

TEST(ProgressLine, ResumedRunCountsOnlyItsOwnWork) {
  const ProgressEvent event{.stage = "train", .done = 600, .total = 700, .tokens = 3000, .loss = kNoLoss};
  EXPECT_EQ(progress_line(event, 10, 500, 2000), "train  600/700 (85 %)  100 tokens/s  ETA 0:10");
}

TEST(ProgressLine, UnknownTotalHasNoRemainingTime) {
  EXPECT_EQ(progress_line({.stage = "read", .done = 12345, .loss = kNoLoss}, 1, 0, 0), "read  12,345");
}

TEST_F(ConsoleTest, PlainLinesComeEveryFewSeconds) {
  {
    Console console = make({});
    for (int step = 0; step <= 120; ++step) {
      test_clock = step * 0.1;  // 12 seconds
      console.progress({.stage = "train", .done = step, .total = 120, .loss = 1.0});
    }
  }
  const std::string text = written();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;  // at 5 s, at 10 s, at the end
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST_F(ConsoleTest, TheNextModelOfAComparisonIsTimedFromItsOwnBeginning) {
  {
    Console console = make({});
    for (int step = 0; step <= 100; ++step) {
      test_clock = step;  // a slow model: 1 step a second
      console.progress({.stage = "train", .done = step, .total = 100, .loss = 1.0});
    }
    for (int step = 0; step <= 60; ++step) {
      test_clock = 100 + step * 0.1;  // a fast one: 10 steps a second
      console.progress({.stage = "train", .done = step, .total = 100, .loss = 1.0});
    }
  }
  EXPECT_THAT(written(), testing::EndsWith("train  50/100 (50 %)  loss 1.000  ETA 0:05\n"));
}

TEST_F(ConsoleTest, TerminalRewritesOneLineAndKeepsMessages) {
  {
    Console console = make({.terminal = true});
    console.progress({.stage = "train", .done = 1, .total = 2, .loss = 1.0});
    test_clock = 1;
    console.progress(
        {.stage = "train", .done = 1, .total = 2, .loss = 1.0, .message = "validation: accuracy 0.5"});
  }
  const std::string text = written();
  EXPECT_NE(text.find("validation: accuracy 0.5\n"), std::string::npos);
  EXPECT_EQ(text.find("\x1b[2m"), std::string::npos);  // colour was not asked for
  EXPECT_EQ(text.substr(text.size() - 4), "\r\x1b[K") << "the line is taken away at the end";
}

TEST_F(ConsoleTest, QuietSaysNothing) {
  {
    Console console = make({.quiet = true});
    console.progress({.stage = "train", .done = 2, .total = 2, .loss = 1.0, .message = "done"});
    console.log(LogLevel::kWarning, "careful");
  }
  EXPECT_EQ(written(), "");
}

TEST_F(ConsoleTest, WarningsAreNamed) {
  {
    Console console = make({});
    console.log(LogLevel::kWarning, "careful");
    console.log(LogLevel::kDebug, "hidden");
    console.log(LogLevel::kInfo, "hello");
  }
  EXPECT_EQ(written(), "warning: careful\nhello\n");
}

}  // namespace
}  // namespace fovea::cli
