#include "fovea/formats/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/check.hpp"

namespace fovea::formats {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

std::string system_message(int error) {
  return std::generic_category().message(error);
}

[[noreturn]] void throw_open(const std::filesystem::path& path, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    std::error_code ignored;
    if (std::filesystem::is_symlink(path, ignored)) {
      throw_data(path.string(), "expected a file, found a link to one that is not there; check the link");
    }
    throw_data(path.string(), "expected a file, found none; check the path");
  }
  if (error == EACCES || error == EPERM) {
    throw_data(path.string(),
               "expected a readable file, found one that this user may not read; check its permissions");
  }
  throw_data(path.string(), "expected a readable file, found: {}", system_message(error));
}

// Up to bytes.size() bytes; 0 at the end.
size_t read_some(int descriptor, std::span<std::byte> bytes, const std::filesystem::path& path) {
  while (true) {
    const ssize_t count = ::read(descriptor, bytes.data(), bytes.size());
    if (count >= 0) return static_cast<size_t>(count);
    if (errno == EISDIR)
      throw_data(path.string(), "expected a file, found a directory; name the file within it");
    if (errno != EINTR) throw_data(path.string(), "could not be read: {}", system_message(errno));
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path, int64_t max_bytes) {
  InputStream file(path);
  const auto too_large = [&](int64_t size) {
    throw_data(path.string(), "expected at most {} bytes, found {}{}; name the right file", max_bytes,
               file.size() >= 0 ? "" : "at least ", size);
  };
  const int64_t known = std::max<int64_t>(file.size(), 0);
  if (known > max_bytes) too_large(known);

  // One byte more than the size, so that a file of the size it said is read in one go and its end is seen.
  std::string bytes(static_cast<size_t>(known) + 1, '\0');
  size_t filled = 0;
  while (true) {
    if (filled == bytes.size()) {
      if (std::cmp_greater(filled, max_bytes)) too_large(static_cast<int64_t>(filled));
      bytes.resize(std::max<size_t>(bytes.size() * 2, 65536));
    }
    const size_t count = file.read(std::span(bytes).subspan(filled));
    if (count == 0) break;
    filled += count;
  }
  if (std::cmp_greater(filled, max_bytes)) too_large(static_cast<int64_t>(filled));
  bytes.resize(filled);
  return bytes;
}

InputStream::InputStream(std::filesystem::path path) : name_(path.string()) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw_open(path, errno);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (known && S_ISREG(status.st_mode)) size_ = int64_t{status.st_size};
  if (known && !S_ISDIR(status.st_mode)) return;
  const int error = errno;
  ::close(descriptor_);
  if (!known) throw_open(path, error);
  throw_data(name_, "expected a file, found a directory; name the file within it");
}

InputStream::InputStream(int descriptor, std::string name)
    : name_(std::move(name)), descriptor_(descriptor), owned_(false) {}

InputStream::~InputStream() {
  if (owned_) ::close(descriptor_);
}

size_t InputStream::read(std::span<char> out) {
  return read_some(descriptor_, std::as_writable_bytes(out), name_);
}

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) throw_open(path_, errno);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (known && S_ISREG(status.st_mode)) {
    size_ = int64_t{status.st_size};
    return;
  }
  ::close(descriptor_);
  throw_data(path_.string(), "expected a regular file, found {}",
             known && S_ISDIR(status.st_mode) ? "a directory; name the file within it"
                                              : "a pipe or a device; write its bytes to a file first");
}

InputFile::~InputFile() {
  ::close(descriptor_);
}

void InputFile::read(std::span<std::byte> out) {
  size_t filled = 0;
  while (filled < out.size()) {
    const size_t count = read_some(descriptor_, out.subspan(filled), path_);
    check_data(count > 0, path_.string(),
               "expected {} bytes, found the end of the file before; was it being written?", size_);
    filled += count;
  }
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  static std::atomic<uint64_t> counter{0};
  if (std::error_code error; std::filesystem::is_directory(path_, error)) {
    throw_data(path_.string(), "expected the name of a file to write, found a directory");
  }
  temporary_ = path_;
  temporary_ += fmt::format(".tmp-{}-{}", ::getpid(), counter.fetch_add(1));
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("could not be created", errno);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::fail(std::string_view what, int error) const {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      throw_data(path_.string(),
                 "{}: the disk is full ({}); the file under this name is unchanged; free some space "
                 "and run again",
                 what, system_message(error));
    case ENOENT:
      throw_data(path_.string(), "{}: its folder does not exist; create it first", what);
    case EACCES:
    case EPERM:
    case EROFS:
      throw_data(path_.string(), "{}: this user may not write there ({}); choose another folder", what,
                 system_message(error));
    default:
      throw_data(path_.string(), "{}: {}", what, system_message(error));
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("could not be written", errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void AtomicFile::write(std::string_view bytes) {
  write(std::as_bytes(std::span(bytes)));
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("could not be synced", errno);
  const int closed = ::close(std::exchange(descriptor_, -1));
  const auto abandon = [&](std::string_view what, int error) {
    ::unlink(temporary_.c_str());
    fail(what, error);
  };
  if (closed != 0) abandon("could not be closed", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) abandon("could not be renamed", errno);
  sync_folder(path_.has_parent_path() ? path_.parent_path() : std::filesystem::path("."));
}

void sync_folder(const std::filesystem::path& folder) {
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) (void)!::fsync(directory.get());
}

void write_atomically(const std::filesystem::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

}  // namespace fovea::formats
