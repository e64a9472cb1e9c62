// FolderLock: one writer a folder. The lock is the kernel's (flock on the file ".lock" in the folder), so it
// ends with the process that holds it however that ends, kill -9 included; the file is removed by the holder
// and means nothing by itself. Two runs of one process exclude each other too.
#pragma once

#include <filesystem>

namespace fovea::formats {

// Locks a folder for as long as it lives. One thread at a time.
class FolderLock {
 public:
  // Makes the folder, and those above it, where they are missing. DataError: another run holds the lock (the
  // message names its process), or the folder cannot be made or written to.
  explicit FolderLock(std::filesystem::path folder);
  // Folders that the constructor made are removed again if nothing is in them.
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  // The folder was renamed: where the lock's file is now.
  void moved_to(std::filesystem::path folder) { folder_ = std::move(folder); }

 private:
  void acquire();
  void remove_made() noexcept;

  std::filesystem::path folder_;
  std::filesystem::path made_;  // the uppermost folder that was made; empty: none
  int descriptor_ = -1;
};

}  // namespace fovea::formats
