// Rows of views by sequence and position, for packed and for batched layouts alike.
#pragma once

#include <algorithm>
#include <cstdint>

#include "fovea/tensor/ragged.hpp"
#include "fovea/tensor/view.hpp"

namespace fovea {

// Row i of sequence n and head h; null for a view without data.
template <class T>
T* row_of(const HeadsView<T>& x, const Offsets& offsets, int64_t n, int64_t i, int64_t h) {
  if (x.data == nullptr) return nullptr;
  const int64_t start = x.sequence_stride != 0 ? n * x.sequence_stride : offsets.begin(n) * x.stride(0);
  return x.data + start + i * x.stride(0) + h * x.stride(1);
}

// Calls use(n, i, t) for the packed tokens t of [begin, end): position i of sequence n.
template <class Use>
void for_tokens(const Offsets& offsets, int64_t begin, int64_t end, Use use) {
  if (begin >= end) return;
  const auto starts = offsets.values();
  int64_t n = std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1;
  for (int64_t t = begin; t < end; ++t) {
    while (t >= offsets.end(n)) ++n;
    use(n, t - offsets.begin(n), t);
  }
}

}  // namespace fovea
