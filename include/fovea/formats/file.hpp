// Whole files: bounded reading, and writing that either happens wholly or leaves the old file untouched.
// Everything here throws DataError, whose message begins with the path and says what to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace fovea::formats {

// No reader takes more than this into memory unless it is told to: 16 GiB.
inline constexpr int64_t kMaxFileBytes = int64_t{1} << 34;

// The bytes of a file. DataError: missing, a directory, unreadable, larger than max_bytes (checked before
// memory is taken). A pipe or a device is read until its end, under the same bound.
std::string read_file(const std::filesystem::path& path, int64_t max_bytes = kMaxFileBytes);

// A regular file read from front to back, for formats whose parts go straight into their own memory. The
// constructor and read() throw DataError: missing, a directory, no regular file, unreadable, shorter than it
// said. One thread at a time.
class InputFile {
 public:
  // Opens it; the file must not change while it is read.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // In bytes, when it was opened.
  int64_t size() const { return size_; }
  // Fills the span with the next bytes.
  void read(std::span<std::byte> out);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// Anything that bytes come from, front to back: a file, a pipe, a device, standard input. The constructor and
// read() throw DataError as read_file does. One thread at a time.
class InputStream {
 public:
  // Opens a path, "-" being a file of that name like any other.
  explicit InputStream(std::filesystem::path path);
  // A descriptor that stays the caller's, under a name for messages.
  InputStream(int descriptor, std::string name);
  ~InputStream();
  InputStream(const InputStream&) = delete;
  InputStream& operator=(const InputStream&) = delete;

  // The path, or the name that was given, for messages.
  const std::string& name() const { return name_; }
  // Of a regular file, when it was opened; -1 for what has no size.
  int64_t size() const { return size_; }
  // Waits for bytes and takes those that have come, at most out.size(); 0 at the end.
  size_t read(std::span<char> out);

 private:
  std::string name_;
  int descriptor_ = -1;
  bool owned_ = true;
  int64_t size_ = -1;
};

// CRC-32C (Castagnoli; RFC 3720), the checksum in every file that Fovea writes. crc32c(b, crc32c(a)) is the
// checksum of a followed by b.
uint32_t crc32c(std::span<const std::byte> bytes, uint32_t previous = 0);
uint32_t crc32c(std::string_view bytes, uint32_t previous = 0);
// The same without the processor's instruction, which crc32c uses where there is one.
uint32_t crc32c_portable(std::span<const std::byte> bytes, uint32_t previous = 0);

// A file that appears under its name only when commit() returns. Until then the bytes are in a temporary file
// beside it ("name.tmp-PID-N"), which the destructor removes. commit() syncs the file, renames it and syncs
// the folder, so after a power cut either the old or the new file is there, whole. The constructor, write and
// commit throw DataError: a full disk says so; the old file is untouched. One thread at a time.
class AtomicFile {
 public:
  // Creates the temporary file; the folder must be there.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view bytes);
  // Makes the file what was written; once, as the last call.
  void commit();

 private:
  [[noreturn]] void fail(std::string_view what, int error) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

// AtomicFile with one write.
void write_atomically(const std::filesystem::path& path, std::string_view bytes);

// Makes the names in a folder durable; a file system that cannot sync folders is left to itself.
void sync_folder(const std::filesystem::path& folder);

}  // namespace fovea::formats
