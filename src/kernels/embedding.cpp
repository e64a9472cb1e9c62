#include "fovea/kernels/embedding.hpp"

#include <algorithm>
#include <cstring>

#include "fovea/base/parallel.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {
namespace {

template <class Index>
void gather(int64_t n, int64_t cols, const float* table, const Index* ids, float* out) {
  if (cols <= 0) return;
  const auto bytes = static_cast<size_t>(cols) * sizeof(float);
  parallel_for(n, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (ids[i] < 0) {
        std::memset(out + i * cols, 0, bytes);
      } else {
        std::memcpy(out + i * cols, table + static_cast<int64_t>(ids[i]) * cols, bytes);
      }
    }
  });
}

// Threads own ranges of columns, in cache lines, and walk all rows: no element is written by two of them, and
// its terms are added in the order of i. Plain additions vectorise at any instruction set without changing a
// bit.
template <class Index>
void scatter(int64_t n, int64_t cols, const float* dy, const Index* ids, float* dtable) {
  const int64_t lines = (cols + 15) / 16;
  parallel_for(lines, row_grain(16 * n), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * 16;
    const int64_t count = std::min(cols, end * 16) - first;
    for (int64_t i = 0; i < n; ++i) {
      if (ids[i] < 0) continue;
      const float* from = dy + i * cols + first;
      float* to = dtable + static_cast<int64_t>(ids[i]) * cols + first;
      for (int64_t c = 0; c < count; ++c) to[c] += from[c];
    }
  });
}

}  // namespace

void gather_rows(int64_t n, int64_t cols, const float* table, const int64_t* ids, float* out) {
  gather(n, cols, table, ids, out);
}
void gather_rows(int64_t n, int64_t cols, const float* table, const int32_t* ids, float* out) {
  gather(n, cols, table, ids, out);
}
void scatter_add_rows(int64_t n, int64_t cols, const float* dy, const int64_t* ids, int64_t /*rows*/,
                      float* dtable) {
  scatter(n, cols, dy, ids, dtable);
}
void scatter_add_rows(int64_t n, int64_t cols, const float* dy, const int32_t* ids, int64_t /*rows*/,
                      float* dtable) {
  scatter(n, cols, dy, ids, dtable);
}

}  // namespace fovea::kernels
