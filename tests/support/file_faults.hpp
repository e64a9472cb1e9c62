// Kills this process, or fills up its disk, at a chosen change of a file. Include it in one source of a
// program only.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace {

enum class Fault { kNone, kKill, kDiskFull };
std::atomic<Fault> g_fault{Fault::kNone};
std::atomic<int64_t> g_changes_left{0};

// Whether this change of a file may happen. The process ends here where the fault is a kill.
bool change_allowed(bool needs_room) {
  if (g_fault == Fault::kNone) return true;
  if (g_fault == Fault::kDiskFull && !needs_room) return true;
  if (g_changes_left.fetch_sub(1) > 0) return true;
  if (g_fault == Fault::kKill) ::raise(SIGKILL);
  errno = ENOSPC;
  return false;
}

}  // namespace

// The calls that change files, in place of the C library's, for this program and the libraries it uses.
extern "C" {
int rename(const char* from, const char* to) noexcept {
  return change_allowed(true) ? static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0))
                              : -1;
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  return change_allowed(true)
             ? static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, flags))
             : -1;
}
int link(const char* from, const char* to) noexcept {
  return change_allowed(true) ? static_cast<int>(syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0)) : -1;
}
int mkdir(const char* path, mode_t mode) noexcept {
  return change_allowed(true) ? static_cast<int>(syscall(SYS_mkdirat, AT_FDCWD, path, mode)) : -1;
}
int unlink(const char* path) noexcept {
  return change_allowed(false) ? static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, 0)) : -1;
}
int rmdir(const char* path) noexcept {
  return change_allowed(false) ? static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR)) : -1;
}
int unlinkat(int folder, const char* path, int flags) noexcept {
  return change_allowed(false) ? static_cast<int>(syscall(SYS_unlinkat, folder, path, flags)) : -1;
}
int remove(const char* path) noexcept {
  if (!change_allowed(false)) return -1;
  const auto done = static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, 0));
  return done != 0 && errno == EISDIR ? static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR))
                                      : done;
}
int fsync(int file) {
  return change_allowed(true) ? static_cast<int>(syscall(SYS_fsync, file)) : -1;
}
}
