#include "fovea/formats/folder_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "base/check.hpp"

namespace fovea::formats {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLockName = ".lock";

std::string holder(int descriptor) {
  char text[32] = {};
  const ssize_t count = ::pread(descriptor, text, sizeof text - 1, 0);
  std::string digits(text, count > 0 ? static_cast<size_t>(count) : 0);
  digits.erase(std::min(digits.find_first_not_of("0123456789"), digits.size()));
  return digits.empty() ? "another run" : "process " + digits;
}

// Whether `path` still names the open file: its holder may have removed it between our open and our lock.
bool names(const fs::path& path, int descriptor) {
  struct stat by_name {};
  struct stat by_descriptor {};
  return ::stat(path.c_str(), &by_name) == 0 && ::fstat(descriptor, &by_descriptor) == 0 &&
         by_name.st_ino == by_descriptor.st_ino && by_name.st_dev == by_descriptor.st_dev;
}

}  // namespace

FolderLock::FolderLock(fs::path folder) : folder_(std::move(folder)) {
  std::error_code error;
  for (fs::path at = fs::absolute(folder_, error); !at.empty() && !fs::exists(at, error);) {
    made_ = at;
    if (at == at.parent_path()) break;
    at = at.parent_path();
  }
  error.clear();
  fs::create_directories(folder_, error);
  check_data(!error, folder_.string(), "expected a folder that can be made, found: {}; give another --out",
             error.message());
  try {
    acquire();
  } catch (...) {
    remove_made();
    throw;
  }
}

void FolderLock::acquire() {
  const fs::path path = folder_ / kLockName;
  while (true) {
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    const int error = errno;
    check_data(descriptor_ >= 0, folder_.string(),
               "expected a folder that this user may write to, found: {}; give another --out",
               std::generic_category().message(error));
    // A file system without locks is left to its users: nothing can be promised there, and much can be
    // trained.
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      const std::string who = holder(descriptor_);
      ::close(std::exchange(descriptor_, -1));
      throw_data(
          folder_.string(),
          "expected a folder that no other run writes to, found {} at work in it; wait until it has ended, "
          "or give another --out",
          who);
    }
    if (names(path, descriptor_)) break;
    ::close(std::exchange(descriptor_, -1));
  }
  // Whose lock it is, for the message above; nothing depends on it.
  const std::string own = std::to_string(::getpid()) + "\n";
  if (::ftruncate(descriptor_, 0) == 0) static_cast<void>(!::pwrite(descriptor_, own.data(), own.size(), 0));
}

FolderLock::~FolderLock() {
  if (descriptor_ < 0) return;
  const fs::path path = folder_ / kLockName;
  if (names(path, descriptor_)) ::unlink(path.c_str());
  ::close(descriptor_);
  remove_made();
}

void FolderLock::remove_made() noexcept {
  if (made_.empty()) return;
  std::error_code error;
  for (fs::path at = fs::absolute(folder_, error); ::rmdir(at.c_str()) == 0 && at != made_;)
    at = at.parent_path();
}

}  // namespace fovea::formats
