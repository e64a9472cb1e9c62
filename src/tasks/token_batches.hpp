// Batches of whole texts under a budget of tokens. Nothing is padded, so any texts go together, and the order
// is a plain shuffle: batches are as random as rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fovea::tasks {

struct TokenBatches {
  std::vector<int32_t> order;      // of the rows
  std::vector<int64_t> begins{0};  // batch b holds order[begins[b] … begins[b + 1])
  int64_t count() const { return static_cast<int64_t>(begins.size()) - 1; }
  std::span<const int32_t> rows(int64_t batch) const {
    const auto begin = static_cast<size_t>(begins[static_cast<size_t>(batch)]);
    const auto end = static_cast<size_t>(begins[static_cast<size_t>(batch) + 1]);
    return std::span(order).subspan(begin, end - begin);
  }
};

// The order drawn from (seed, epoch), cut where a further row would exceed the budget; a row larger than the
// budget is a batch of its own.
TokenBatches token_batches(std::span<const int64_t> lengths, int64_t budget, uint64_t seed, int64_t epoch);

}  // namespace fovea::tasks
