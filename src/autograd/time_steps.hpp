// The order in which a recurrent layer meets packed tokens: time-major, longest sequence first, so that the sequences
// alive at step t are the first alive(t) rows of the step before. Internal.
#pragma once

#include <vector>

#include "fovea/autograd/functions/recurrent.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/tensor/ragged.hpp"

namespace fovea::autograd {

template <class T>
using PoolVector = std::vector<T, PoolAllocator<T>>;

class TimeSteps {
 public:
  TimeSteps(const Offsets& offsets, Direction direction);

  int64_t steps() const { return static_cast<int64_t>(begins_.size()) - 1; }
  int64_t tokens() const { return begins_.back(); }
  int64_t sequences() const { return static_cast<int64_t>(order_.size()); }
  // Rows of step t in time-major order: [begin(t), begin(t) + alive(t)). Row r of a step is sequence order()[r].
  int64_t begin(int64_t t) const { return begins_[static_cast<size_t>(t)]; }
  int64_t alive(int64_t t) const { return begin(t + 1) - begin(t); }

  // The packed token of each time-major row, and the way back.
  const int64_t* token_of_row() const { return token_of_row_.data(); }
  const int64_t* row_of_token() const { return row_of_token_.data(); }
  // The row of the same sequence one step before; −1 at its first step.
  const int64_t* previous_row() const { return previous_row_.data(); }
  // Sequences from longest to shortest, equal lengths in their order.
  const int64_t* order() const { return order_.data(); }
  // The row of each sequence's last step, by rank in order(); −1 for an empty one.
  int64_t last_row(int64_t rank) const;

 private:
  PoolVector<int64_t> order_, lengths_, begins_, token_of_row_, row_of_token_, previous_row_;
};

}  // namespace fovea::autograd
