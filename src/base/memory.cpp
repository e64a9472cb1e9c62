#include "fovea/base/memory.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <new>
#include <vector>

#include "base/block_heap.hpp"

namespace fovea {
namespace {

// From here on blocks are cut from larger ones (BlockHeap); below, freed blocks wait in lists by size class.
constexpr size_t kLarge = size_t{1} << 20;
constexpr size_t kPage = 4096;

// Size classes: powers of two with eight steps between each, so rounding wastes at most 12.5 %, and one line
// more, in which a tensor keeps its header: tensors of round sizes would fall just into the next class.
constexpr int kSteps = 8;
constexpr int kClasses = 13 * kSteps;

struct SizeClass {
  size_t index;
  size_t bytes;
};

SizeClass size_class(size_t bytes) {
  const size_t lines = std::max<size_t>(2, (bytes + kAlignment - 1) / kAlignment) - 1;
  if (lines <= kSteps) return {lines, (lines + 1) * kAlignment};
  const int shift =
      static_cast<int>(std::bit_width(lines - 1)) - 4;  // lines - 1 in [2^(shift+3), 2^(shift+4))
  const size_t step = size_t{1} << shift;
  const size_t rounded = (lines + step - 1) / step;  // in (8, 16]
  return {static_cast<size_t>(shift) * kSteps + rounded, (rounded * step + 1) * kAlignment};
}

// The inverse: the bytes of a class.
size_t class_bytes(size_t index) {
  if (index <= kSteps) return (index + 1) * kAlignment;
  const size_t shift = (index - 1) / kSteps - 1;
  return (((index - shift * kSteps) << shift) + 1) * kAlignment;
}

size_t rounded(size_t bytes) {
  return bytes >= kLarge ? (bytes + kPage - 1) / kPage * kPage : size_class(bytes).bytes;
}

void* from_system(size_t bytes) {
  return ::operator new(bytes, std::align_val_t{kAlignment}, std::nothrow);
}
void to_system(void* p) {
  ::operator delete(p, std::align_val_t{kAlignment});
}

class Pool {
 public:
  // Never destroyed: tensors of static duration may outlive any other static.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  void* allocate(size_t bytes) {
    const size_t size = rounded(bytes);
    {
      const std::lock_guard lock(mutex_);
      stats_.bytes_in_use += static_cast<int64_t>(size);
      stats_.peak_bytes_in_use = std::max(stats_.peak_bytes_in_use, stats_.bytes_in_use);
      if (void* p = cached(bytes, size)) return p;
      ++stats_.system_allocations;
      stats_.bytes_reserved += static_cast<int64_t>(size);
    }
    void* p = from_system(size);
    if (p == nullptr) {
      release();
      p = from_system(size);
    }
    const std::lock_guard lock(mutex_);
    if (p == nullptr) {
      stats_.bytes_in_use -= static_cast<int64_t>(size);
      stats_.bytes_reserved -= static_cast<int64_t>(size);
      throw std::bad_alloc();
    }
    if (bytes >= kLarge) large_.add_region(p, size);
    return p;
  }

  void free(void* p, size_t bytes) noexcept {
    if (p == nullptr) return;
    const size_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    stats_.bytes_in_use -= static_cast<int64_t>(size);
    if (bytes >= kLarge) {
      large_.give(p, size);
    } else {
      free_[size_class(bytes).index].push_back(p);
    }
  }

  void release() {
    const std::lock_guard lock(mutex_);
    size_t released = large_.release(to_system);
    for (size_t c = 0; c < free_.size(); ++c) {
      for (void* p : free_[c]) to_system(p);
      released += free_[c].size() * class_bytes(c);
      free_[c].clear();
    }
    stats_.bytes_reserved -= static_cast<int64_t>(released);
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
  void* cached(size_t bytes, size_t size) {
    if (bytes >= kLarge) return large_.take(size);
    auto& list = free_[size_class(bytes).index];
    if (list.empty()) return nullptr;
    void* p = list.back();
    list.pop_back();
    return p;
  }

  std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> free_;
  BlockHeap large_;
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
