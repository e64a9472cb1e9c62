// tools/setup.sh beside another package tool, and where nothing can be fetched. apt is given folders of its
// own, so that its locks are not the machine's and nothing is installed.
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

  // An empty package in this apt's archive.
  void offer(const std::string& name) {
    const fs::path archive = root_ / "archive", folder = root_ / "made" / name / "DEBIAN";
    fs::create_directories(archive);
    fs::create_directories(folder);
    const std::string about =
        "Package: " + name + "\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n";
    std::ofstream(folder / "control") << about << "Description: nothing\n";
    const fs::path file = archive / (name + ".deb");
    ASSERT_EQ(run_command("dpkg-deb --build " + folder.parent_path().string() + " " + file.string()).code, 0);
    const std::string digest = run_command("sha256sum " + file.string()).out.substr(0, 64);
    std::ofstream(archive / "Packages", std::ios::app)
        << about << "Filename: ./" << file.filename().string() << "\nSize: " << fs::file_size(file)
        << "\nSHA256: " << digest << "\nDescription: nothing\n\n";
  }

  fs::path root_ = fs::path(FOVEA_BINARY_DIR) / ("setup_test_" + std::to_string(getpid()));
};

// This apt knows no packages, which are the demo's data: that is said, once the lock is free.
TEST_F(Setup, WaitsForTheLockOfThePackageLists) {
  const CommandResult result = run_beside_lock(root_ / "lists/lock", "demo");
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("another package tool holds apt's lock; waiting"));
  EXPECT_THAT(result.err, testing::Not(testing::HasSubstr("Could not get lock")));
  EXPECT_THAT(result.err,
              testing::EndsWith(
                  "setup: expected apt's index of Debian's main archive, the demo's data, found less than "
                  "20 MB of it; with a network, run this again, or give texts of your own: make demo "
                  "DATA=file.csv TARGET=column\n"));
}

// No package is known to this apt, so that the installation ends with that word, once the lock is free.
TEST_F(Setup, WaitsForTheLockOfPackages) {
  const CommandResult result =
      run_beside_lock(root_ / "dpkg/lock-frontend", "test", "DPKG_ADMINDIR=" + (root_ / "dpkg").string());
  EXPECT_THAT(result.err, testing::HasSubstr("another package tool holds apt's lock; waiting"));
  EXPECT_THAT(result.err, testing::Not(testing::HasSubstr("Could not get lock")));
  EXPECT_THAT(result.err, testing::HasSubstr("Unable to locate package chromium"));
}

// From an archive of its own this apt fetches two empty packages and goes no further.
TEST_F(Setup, WaitsForTheLockOfFetchedPackages) {
  offer("chromium");
  offer("locales");
  std::ofstream(root_ / "etc/sources.list")
      << "deb [trusted=yes] file:" << (root_ / "archive").string() << " ./\n";
  std::ofstream(root_ / "apt.conf", std::ios::app) << "APT::Get::Download-Only \"true\";\n";
  const CommandResult result =
      run_beside_lock(root_ / "cache/archives/lock", "test", "DPKG_ADMINDIR=" + (root_ / "dpkg").string());
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("another package tool holds apt's lock; waiting"));
  EXPECT_THAT(result.err, testing::Not(testing::HasSubstr("Could not get lock")));
}

// Nobody answers at that port.
constexpr const char* kNowhere = "http://127.0.0.1:9/";

TEST_F(Setup, SaysWhichPackagesItNeedsWhereAptReachesNothing) {
  std::ofstream(root_ / "etc/sources.list") << "deb " << kNowhere << " stable main\n";
  const CommandResult result = run_command("APT_CONFIG=" + (root_ / "apt.conf").string() +
                                           " DPKG_ADMINDIR=" + (root_ / "dpkg").string() +
                                           " " FOVEA_SOURCE_DIR "/tools/setup.sh test");
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_THAT(result.err, testing::EndsWith(
                              "setup: expected the packages chromium locales, found that apt cannot install "
                              "them (its words stand above); with a network and Debian 12's main archive "
                              "in apt's sources, run this again\n"));
}

TEST_F(Setup, SaysWhatItNeedsWherePipReachesNothing) {
  if (run_command("dpkg-query -W python3-venv python3-dev g++").code != 0)
    GTEST_SKIP() << "no Debian packages of Python";
  fs::create_directories(root_ / "copy/tools");
  fs::copy(kRoot / "tools/setup.sh", root_ / "copy/tools/setup.sh");
  const CommandResult result = run_command(
      std::string("env -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null PIP_NO_CACHE_DIR=1 PIP_RETRIES=0 "
                  "PIP_EXTRA_INDEX_URL= PIP_INDEX_URL=") +
      kNowhere + " " + (root_ / "copy/tools/setup.sh").string() + " peers");
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_THAT(result.err, testing::HasSubstr("setup: creating .venv-peers\n"));
  EXPECT_THAT(result.err,
              testing::ContainsRegex(
                  "setup: expected numpy torch[^ ]* in .venv-peers, found that pip cannot install them "
                  ".its words stand above.; with a network, run this again\n$"));
}

}  // namespace
}  // namespace fovea::house
