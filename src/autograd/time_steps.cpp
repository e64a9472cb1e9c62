#include "autograd/time_steps.hpp"

#include <algorithm>

namespace fovea::autograd {
namespace {

// Each step of a group reads the recurrent weights once, so groups of few sequences waste their bandwidth;
// but two groups are needed for two threads.
int64_t group_count(int64_t sequences) {
  return sequences < 8 ? 1 : std::clamp<int64_t>(sequences / 16, 2, 16);
}

size_t size(int64_t v) {
  return static_cast<size_t>(v);
}

}  // namespace

TimeSteps::TimeSteps(const Offsets& offsets, Direction direction) : groups_(group_count(offsets.count())) {
  const int64_t n = offsets.count();
  PoolVector<int64_t> sorted(size(n));
  for (int64_t i = 0; i < n; ++i) sorted[size(i)] = i;
  // Ties broken by index: std::sort and no std::stable_sort, which takes a buffer from the system.
  std::sort(sorted.begin(), sorted.end(), [&](int64_t a, int64_t b) {
    const int64_t la = offsets.length(a);
    const int64_t lb = offsets.length(b);
    return la != lb ? la > lb : a < b;
  });

  order_.reserve(size(n));
  last_row_.reserve(size(n));
  token_of_row_.reserve(size(offsets.total()));
  previous_row_.reserve(size(offsets.total()));
  row_of_token_.resize(size(offsets.total()));
  rank_begin_.push_back(0);
  first_step_.push_back(0);
  for (int64_t g = 0; g < groups_; ++g) {
    const int64_t rank = rank_begin_.back();
    // Every groups_-th of the sorted sequences: groups of nearly equal work.
    for (int64_t i = g; i < n; i += groups_) order_.push_back(sorted[size(i)]);
    int64_t alive = static_cast<int64_t>(order_.size()) - rank;
    rank_begin_.push_back(rank + alive);
    last_row_.resize(order_.size(), -1);
    const int64_t steps = alive == 0 ? 0 : offsets.length(order_[size(rank)]);
    begins_.push_back(static_cast<int64_t>(token_of_row_.size()));
    for (int64_t t = 0; t < steps; ++t) {
      while (offsets.length(order_[size(rank + alive - 1)]) <= t) --alive;
      const int64_t before = t == 0 ? 0 : begins_[begins_.size() - 2];
      for (int64_t r = 0; r < alive; ++r) {
        const int64_t sequence = order_[size(rank + r)];
        const auto row = static_cast<int64_t>(token_of_row_.size());
        const int64_t token =
            direction == Direction::kForward ? offsets.begin(sequence) + t : offsets.end(sequence) - 1 - t;
        token_of_row_.push_back(token);
        row_of_token_[size(token)] = row;
        previous_row_.push_back(t == 0 ? -1 : before + r);
        last_row_[size(rank + r)] = row;
      }
      begins_.push_back(static_cast<int64_t>(token_of_row_.size()));
    }
    first_step_.push_back(static_cast<int64_t>(begins_.size()));
  }
}

}  // namespace fovea::autograd
