// tools/setup.sh beside another package tool. apt is given folders of its own, so that its locks are not the
// machine's and nothing is installed.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/house/source_tree.hpp"
#include "tests/support/run_command.hpp"

namespace fovea::house {
namespace {

// Holds a file's lock as apt does (fcntl), which programs started from here do not inherit.
class HeldLock {
 public:
  explicit HeldLock(const fs::path& path) : file_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640)) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    held_ = fcntl(file_, F_SETLK, &lock) == 0;
  }
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;
  ~HeldLock() { release(); }
  void release() {
    if (file_ >= 0) close(file_);
    file_ = -1;
  }
  bool held() const { return held_; }

 private:
  int file_;
  bool held_ = false;
};

class Setup : public testing::Test {
 protected:
  void SetUp() override {
    if (run_command("command -v apt-get").code != 0) GTEST_SKIP() << "no apt-get here";
    if (getuid() != 0) GTEST_SKIP() << "not root: sudo would not pass apt's folders on";
    fs::remove_all(root_);
    for (const char* folder :
         {"lists/partial", "cache/archives/partial", "dpkg/info", "dpkg/updates", "etc"}) {
      fs::create_directories(root_ / folder);
    }
    std::ofstream(root_ / "dpkg/status");
    std::ofstream(root_ / "etc/sources.list");
    std::ofstream(root_ / "apt.conf")
        << "Dir::State::lists \"" << (root_ / "lists").string() << "\";\nDir::Cache \""
        << (root_ / "cache").string() << "\";\nDir::State::status \"" << (root_ / "dpkg/status").string()
        << "\";\nDir::Etc::sourcelist \"" << (root_ / "etc/sources.list").string()
        << "\";\nDir::Etc::sourceparts \"/dev/null\";\n";
  }
  void TearDown() override { fs::remove_all(root_); }

  // What setup.sh does while the lock is held for five seconds.
  CommandResult run_beside_lock(const fs::path& lock, const std::string& group,
                                const std::string& more = "") {
    HeldLock held(lock);
    EXPECT_TRUE(held.held());
    std::thread other([&held] {
      std::this_thread::sleep_for(std::chrono::seconds(5));
      held.release();
    });
    CommandResult result = run_command("APT_CONFIG=" + (root_ / "apt.conf").string() + " " + more +
                                       " " FOVEA_SOURCE_DIR "/tools/setup.sh " + group);
    other.join();
    return result;
  }

  fs::path root_ = fs::path(FOVEA_BINARY_DIR) / ("setup_test_" + std::to_string(getpid()));
};

TEST_F(Setup, WaitsForTheLockOfThePackageLists) {
  const CommandResult result = run_beside_lock(root_ / "lists/lock", "demo");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("another package tool holds apt's lock; waiting"));
  EXPECT_THAT(result.err, testing::Not(testing::HasSubstr("Could not get lock")));
}

// No package is known to this apt, so that the installation ends with that word, once the lock is free.
TEST_F(Setup, WaitsForTheLockOfPackages) {
  const CommandResult result =
      run_beside_lock(root_ / "dpkg/lock-frontend", "test", "DPKG_ADMINDIR=" + (root_ / "dpkg").string());
  EXPECT_THAT(result.err, testing::HasSubstr("another package tool holds apt's lock; waiting"));
  EXPECT_THAT(result.err, testing::Not(testing::HasSubstr("Could not get lock")));
  EXPECT_THAT(result.err, testing::HasSubstr("Unable to locate package chromium"));
}

}  // namespace
}  // namespace fovea::house
