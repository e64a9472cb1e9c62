// Counts every malloc and calloc of this program and its libraries (operator new calls malloc). Include it in
// one source of a program only.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>

// A sanitizer brings its own malloc: g++ says so by a macro, clang by a feature.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FOVEA_COUNTS_MALLOC 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOVEA_COUNTS_MALLOC 0
#endif
#ifndef FOVEA_COUNTS_MALLOC
#define FOVEA_COUNTS_MALLOC 1
#endif

namespace {
std::atomic<int64_t> g_allocations{0};
}  // namespace

#if FOVEA_COUNTS_MALLOC
extern "C" void* __libc_malloc(size_t bytes);            // NOLINT: glibc's own
extern "C" void* __libc_calloc(size_t n, size_t bytes);  // NOLINT
extern "C" void* malloc(size_t bytes) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(bytes);
}
extern "C" void* calloc(size_t n, size_t bytes) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(n, bytes);
}
#endif
