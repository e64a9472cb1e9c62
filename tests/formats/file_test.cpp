#include "fovea/formats/file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "fovea/base/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace fovea::formats {
namespace {

// A folder of this process: test processes run side by side.
const std::filesystem::path& own_folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

std::filesystem::path fresh_folder(const char* name) {
  const auto folder = own_folder() / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

int64_t files_in(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator());
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);              // the check value of CRC-32C
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);    // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);  // RFC 3720, B.4
  std::string ascending;
  for (char c = 0; c < 32; ++c) ascending += c;
  EXPECT_EQ(crc32c(ascending), 0x46DD794Eu);  // RFC 3720, B.4
}

TEST(Crc32c, TheInstructionAndTheTablesAgree) {
  std::string bytes;
  for (int i = 0; i < 1000; ++i) {
    const auto view = std::as_bytes(std::span(bytes));
    ASSERT_EQ(crc32c(view, 7), crc32c_portable(view, 7)) << i;
    bytes += static_cast<char>(i * 37 + i / 11);
  }
}

TEST(InputFile, ReadsInOrderAndSaysWhatIsWrong) {
  const auto folder = fresh_folder("input");
  const auto path = folder / "x";
  write_atomically(path, "abcdef");
  InputFile file(path);
  EXPECT_EQ(file.size(), 6);
  std::string first(2, ' '), rest(5, ' ');
  file.read(std::as_writable_bytes(std::span(first)));
  EXPECT_EQ(first, "ab");
  EXPECT_EQ(error_of([&] { file.read(std::as_writable_bytes(std::span(rest))); }),
            path.string() + ": expected 6 bytes, found the end of the file before; was it being written?");
  EXPECT_EQ(error_of([&] { InputFile directory(folder); }),
            folder.string() + ": expected a regular file, found a directory; name the file within it");
  EXPECT_EQ(error_of([&] { InputFile none(folder / "y"); }),
            (folder / "y").string() + ": expected a file, found none; check the path");
}

TEST(Crc32c, PartsGiveTheWhole) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += static_cast<char>(i * 7);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32c(text.substr(cut), crc32c(text.substr(0, cut))), crc32c(text)) << cut;
  }
}

TEST(ReadFile, BytesOfEverySize) {
  const auto folder = fresh_folder("read_file");
  for (const size_t size : {0u, 1u, 3u, 7u, 8u, 9u, 127u, 1000u, 65536u, 100000u}) {
    const std::string bytes(size, 'x');
    write_atomically(folder / "f", bytes);
    EXPECT_EQ(read_file(folder / "f"), bytes);
    EXPECT_EQ(read_file(folder / "f", static_cast<int64_t>(size)), bytes);
    if (size > 0) {
      EXPECT_THAT(error_of([&] { read_file(folder / "f", static_cast<int64_t>(size) - 1); }),
                  testing::HasSubstr("expected at most"));
    }
  }
  EXPECT_THAT(error_of([] { read_file("/dev/zero", 1000); }),
              testing::HasSubstr("expected at most 1000 bytes, found at least"));
  EXPECT_EQ(read_file("/dev/null"), "");
}

TEST(AtomicFile, OldFileStaysUntilCommit) {
  const auto folder = fresh_folder("atomic");
  write_atomically(folder / "f", "old");
  {
    AtomicFile file(folder / "f");
    file.write("new, but given up");
    EXPECT_EQ(read_file(folder / "f"), "old");
  }
  EXPECT_EQ(read_file(folder / "f"), "old");
  EXPECT_EQ(files_in(folder), 1);
  write_atomically(folder / "f", "new");
  EXPECT_EQ(read_file(folder / "f"), "new");
  EXPECT_EQ(files_in(folder), 1);
}

TEST(AtomicFile, PlacesThatCannotBeWritten) {
  const auto folder = fresh_folder("unwritable");
  EXPECT_EQ(error_of([&] { write_atomically(folder, "x"); }),
            folder.string() + ": expected the name of a file to write, found a directory");
  EXPECT_EQ(error_of([&] { write_atomically(folder / "none" / "f", "x"); }),
            (folder / "none" / "f").string() +
                ": could not be created: its folder does not exist; create it first");
}

// A full disk, as a limit on the file's size in a child process: the system refuses the write in the same
// place.
TEST(AtomicFile, FullDiskKeepsTheOldFileAndSaysSo) {
  const auto folder = fresh_folder("full");
  write_atomically(folder / "f", "old");
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error_of([&] { write_atomically(folder / "f", std::string(100000, 'x')); });
    ::_exit(message.find("could not be written: the disk is full") != std::string::npos &&
                    message.find("unchanged; free some space") != std::string::npos
                ? 0
                : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(read_file(folder / "f"), "old");
  EXPECT_EQ(files_in(folder), 1);
}

// Killed at any moment, a writer leaves the old or the new file, whole.
TEST(AtomicFile, KilledWriterLeavesAWholeFile) {
  const auto folder = fresh_folder("killed");
  const std::string even(300000, 'a');
  const std::string odd(200000, 'b');
  write_atomically(folder / "f", even);
  for (int round = 0; round < 10; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int i = 0;; ++i) write_atomically(folder / "f", i % 2 ? even : odd);
    }
    ::usleep(static_cast<useconds_t>(1000 + 700 * round));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string found = read_file(folder / "f");
    EXPECT_TRUE(found == even || found == odd) << found.size();
  }
}

}  // namespace
}  // namespace fovea::formats
