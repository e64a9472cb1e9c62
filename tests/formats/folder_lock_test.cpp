#include "fovea/formats/folder_lock.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "fovea/base/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::formats {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string error_of(const fs::path& folder) {
  try {
    const FolderLock lock(folder);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(FolderLock, ExcludesASecondOneAndSaysWhoHoldsIt) {
  const TemporaryFolder folder;
  {
    const FolderLock lock(folder.path());
    EXPECT_THAT(error_of(folder.path()),
                HasSubstr("expected a folder that no other run writes to, found process " +
                          std::to_string(::getpid())));
  }
  EXPECT_EQ(error_of(folder.path()), "no error");
  EXPECT_TRUE(fs::is_empty(folder.path())) << "the lock's file is left behind";
}

TEST(FolderLock, EndsWithAProcessThatIsKilled) {
  const TemporaryFolder folder;
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(folder.path());
    static_cast<void>(!::write(ends[1], "x", 1));
    while (true) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ends[0], &byte, 1), 1);
  EXPECT_THAT(error_of(folder.path()), HasSubstr("process " + std::to_string(child)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(folder.path() / ".lock")) << "the test must leave a stale file";
  EXPECT_EQ(error_of(folder.path()), "no error");
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(FolderLock, AFolderMadeForNothingIsRemovedAgain) {
  const TemporaryFolder folder;
  { const FolderLock lock(folder.path() / "a" / "b"); }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  {
    const FolderLock lock(folder.path() / "a" / "b");
    folder.write("a/b/model", "kept");
  }
  EXPECT_TRUE(fs::exists(folder.path() / "a" / "b" / "model"));
}

TEST(FolderLock, AFolderThatCannotBeMadeIsNamed) {
  const TemporaryFolder folder;
  folder.write("file", "");
  EXPECT_THAT(error_of(folder.path() / "file" / "model"), HasSubstr("give another --out"));
}

}  // namespace
}  // namespace fovea::formats
