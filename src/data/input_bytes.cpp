#include "data/input_bytes.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/check.hpp"
#include "data/magic.hpp"

namespace fovea::data {

namespace {

constexpr size_t kFirstBlock = 65536;

// The number in a file of the control group; no bound when it has none.
int64_t bound_in(const char* path) {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  try {
    const std::string text = formats::read_file(path, 100);
    int64_t value = 0;
    return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc() ? value : kNone;
  } catch (const DataError&) {
    return kNone;
  }
}

std::string read_within(const ByteSource& source, std::string_view name, int64_t known,
                        const ReadOptions& options) {
  const int64_t quarter = memory_for_process() / 4;
  const int64_t most = std::min(options.max_file_bytes, quarter);
  const auto check_size = [&](int64_t size, const char* least) {
    check_data(size <= most, name,
               "expected at most {} bytes{}, found {}{}; split the file, or read a part of it", most,
               most == quarter ? " (a quarter of the memory)" : "", least, size);
  };
  if (known >= 0) check_size(known, "");
  // One byte more than the size, so that a file of the size it said is read in one go and its end is seen.
  std::string bytes(std::max(kFirstBlock, static_cast<size_t>(std::max<int64_t>(known, 0)) + 1), '\0');
  size_t filled = 0;
  bool text = false;
  while (true) {
    if (filled == bytes.size()) {
      check_size(static_cast<int64_t>(filled), "at least ");
      bytes.resize(bytes.size() * 2);
    }
    // The first block alone, so that what is no text is refused before the rest is waited for.
    const size_t wanted = text ? bytes.size() - filled : kFirstBlock - filled;
    const size_t count = source(std::span(bytes).subspan(filled, wanted));
    filled += count;
    if (!text && (count == 0 || filled == kFirstBlock)) {
      check_is_text(std::string_view(bytes).substr(0, filled), name, options.encoding);
      text = true;
    }
    if (count == 0) break;
  }
  check_size(static_cast<int64_t>(filled), "");
  bytes.resize(filled);
  return bytes;
}

}  // namespace

int64_t memory_for_process() {
  int64_t bytes = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    bytes = std::min(bytes, bound_in(path));
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    bytes = std::min(bytes, static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, rlim_t{1} << 62)));
  }
  return bytes;
}

std::string read_bytes(const ByteSource& source, std::string_view name, const ReadOptions& options) {
  return read_within(source, name, -1, options);
}

std::string read_bytes(formats::InputStream& file, const ReadOptions& options) {
  return read_within([&](std::span<char> out) { return file.read(out); }, file.name(), file.size(), options);
}

}  // namespace fovea::data
