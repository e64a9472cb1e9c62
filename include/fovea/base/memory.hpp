// Aligned memory from a caching pool. Freed blocks are kept and handed out again, small ones by size class,
// those from 1 MiB on cut and joined as sizes ask for, so that a training step of steady shapes asks the
// system for nothing. Thread-safe. Returned to the system by release_cached_memory().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fovea {

inline constexpr size_t kAlignment = 64;  // one cache line, one 512-bit register

// The pool's accounts, in bytes; of this process, all threads together.
struct MemoryStats {
  int64_t system_allocations = 0;  // how often the pool asked the system for memory, since the program began
  int64_t bytes_in_use = 0;        // handed out and not yet freed, in rounded sizes
  int64_t peak_bytes_in_use = 0;   // since the last reset_peak_memory()
  int64_t bytes_reserved = 0;      // in use + cached
};

// 64-byte aligned, uninitialised. Zero bytes give a valid, distinct pointer. std::bad_alloc when the system
// refuses.
void* pool_allocate(size_t bytes);
// `bytes` as given to pool_allocate. Null is allowed.
void pool_free(void* pointer, size_t bytes) noexcept;

// As of now.
MemoryStats memory_stats();
// The peak becomes what is in use now, so that the next stretch of work shows its own.
void reset_peak_memory();
// Gives back what is cached; of large blocks those no part of which is in use.
void release_cached_memory();

// A typed block from the pool, for workspaces. Uninitialised; T must be trivial. Movable, not
// copyable; freed with its owner.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  // Of `count` elements. std::bad_alloc when the system refuses.
  explicit Buffer(size_t count)
      : data_(static_cast<T*>(pool_allocate(count * sizeof(T))), Free{count * sizeof(T)}), count_(count) {}

  // The elements, 64-byte aligned, and how many there are: none, and null, in a default-made Buffer. Indices
  // are not checked.
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    size_t bytes = 0;
    void operator()(T* p) const noexcept { pool_free(p, bytes); }
  };
  std::unique_ptr<T, Free> data_;
  size_t count_ = 0;
};

// A standard allocator over the pool, for the small objects of a training step (tape nodes, lists of inputs).
template <class T>
struct PoolAllocator {
  // As the standard asks of an allocator; std::bad_alloc when the system refuses.
  using value_type = T;

  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) noexcept {
  }  // NOLINT(google-explicit-constructor): as the standard asks

  // Room for n elements, 64-byte aligned, from the pool and back to it.
  T* allocate(size_t n) { return static_cast<T*>(pool_allocate(n * sizeof(T))); }
  void deallocate(T* p, size_t n) noexcept { pool_free(p, n * sizeof(T)); }
  template <class U>
  bool operator==(const PoolAllocator<U>&) const noexcept {
    return true;
  }
};

}  // namespace fovea
