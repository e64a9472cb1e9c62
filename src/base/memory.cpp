#include "fovea/base/memory.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <new>
#include <vector>

namespace fovea {
namespace {

// Size classes: powers of two with eight steps between each, so rounding wastes at most 12.5 %.
constexpr int kSteps = 8;
constexpr int kClasses = 64 * kSteps;

struct SizeClass {
  size_t index;
  size_t bytes;
};

SizeClass size_class(size_t bytes) {
  const size_t lines = std::max<size_t>(1, (bytes + kAlignment - 1) / kAlignment);
  if (lines <= kSteps) return {lines, lines * kAlignment};
  const int shift =
      static_cast<int>(std::bit_width(lines - 1)) - 4;  // lines - 1 in [2^(shift+3), 2^(shift+4))
  const size_t step = size_t{1} << shift;
  const size_t rounded = (lines + step - 1) / step;  // in (8, 16]
  return {static_cast<size_t>(shift) * kSteps + rounded, rounded * step * kAlignment};
}

class Pool {
 public:
  // Never destroyed: tensors of static duration may outlive any other static.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  void* allocate(size_t bytes) {
    const SizeClass c = size_class(bytes);
    {
      const std::lock_guard lock(mutex_);
      stats_.bytes_in_use += static_cast<int64_t>(c.bytes);
      stats_.peak_bytes_in_use = std::max(stats_.peak_bytes_in_use, stats_.bytes_in_use);
      auto& list = free_.at(c.index);
      if (!list.empty()) {
        void* p = list.back();
        list.pop_back();
        return p;
      }
      ++stats_.system_allocations;
      stats_.bytes_reserved += static_cast<int64_t>(c.bytes);
    }
    void* p = ::operator new(c.bytes, std::align_val_t{kAlignment}, std::nothrow);
    if (p != nullptr) return p;
    release();
    p = ::operator new(c.bytes, std::align_val_t{kAlignment}, std::nothrow);
    if (p != nullptr) return p;
    const std::lock_guard lock(mutex_);
    stats_.bytes_in_use -= static_cast<int64_t>(c.bytes);
    stats_.bytes_reserved -= static_cast<int64_t>(c.bytes);
    throw std::bad_alloc();
  }

  void free(void* p, size_t bytes) noexcept {
    if (p == nullptr) return;
    const SizeClass c = size_class(bytes);
    const std::lock_guard lock(mutex_);
    stats_.bytes_in_use -= static_cast<int64_t>(c.bytes);
    free_.at(c.index).push_back(p);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    int64_t held = 0;
    for (auto& list : free_) {
      for (void* p : list) ::operator delete(p, std::align_val_t{kAlignment});
      list.clear();
    }
    held = stats_.bytes_in_use;
    stats_.bytes_reserved = held;
  }

  MemoryStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    const std::lock_guard lock(mutex_);
    stats_.peak_bytes_in_use = stats_.bytes_in_use;
  }

 private:
  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses + 2 * kSteps> free_;
  MemoryStats stats_;
};

}  // namespace

void* pool_allocate(size_t bytes) {
  return Pool::instance().allocate(bytes);
}
void pool_free(void* pointer, size_t bytes) noexcept {
  Pool::instance().free(pointer, bytes);
}
MemoryStats memory_stats() {
  return Pool::instance().stats();
}
void reset_peak_memory() {
  Pool::instance().reset_peak();
}
void release_cached_memory() {
  Pool::instance().release();
}

}  // namespace fovea
