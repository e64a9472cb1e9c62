// The order in which a recurrent layer meets packed tokens. Sequences are dealt into groups, by their number
// alone, and each group walks its time steps on one thread without waiting for the others: one barrier a
// layer instead of one a step. Within a group rows are time-major, longest sequence first, so that the
// sequences alive at step t are the first alive(g, t) rows of the step before. Internal.
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

  int64_t tokens() const { return static_cast<int64_t>(token_of_row_.size()); }
  int64_t sequences() const { return static_cast<int64_t>(order_.size()); }
  int64_t groups() const { return groups_; }
  int64_t steps(int64_t g) const { return at(first_step_, g + 1) - at(first_step_, g) - 1; }
  // Rows of step t of group g: [begin(g, t), begin(g, t) + alive(g, t)).
  int64_t begin(int64_t g, int64_t t) const { return at(begins_, at(first_step_, g) + t); }
  int64_t alive(int64_t g, int64_t t) const { return begin(g, t + 1) - begin(g, t); }
  // Sequences in the order of groups, then from longest to shortest: row r of a step is order()[rank_begin(g)
  // + r].
  const int64_t* order() const { return order_.data(); }
  int64_t rank_begin(int64_t g) const { return at(rank_begin_, g); }

  // The packed token of each row, and the way back.
  const int64_t* token_of_row() const { return token_of_row_.data(); }
  const int64_t* row_of_token() const { return row_of_token_.data(); }
  // The row of the same sequence one step before; −1 at its first step.
  const int64_t* previous_row() const { return previous_row_.data(); }
  // The row of each sequence's last step, by rank; −1 for an empty one.
  int64_t last_row(int64_t rank) const { return at(last_row_, rank); }

 private:
  static int64_t at(const PoolVector<int64_t>& v, int64_t i) { return v[static_cast<size_t>(i)]; }

  int64_t groups_;
  // begins_ of group g is [first_step_[g], first_step_[g + 1]), one more than it has steps.
  PoolVector<int64_t> order_, rank_begin_, first_step_, begins_, token_of_row_, row_of_token_, previous_row_,
      last_row_;
};

}  // namespace fovea::autograd
