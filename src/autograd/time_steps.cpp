#include "autograd/time_steps.hpp"

#include <algorithm>

namespace fovea::autograd {

TimeSteps::TimeSteps(const Offsets& offsets, Direction direction) {
  const int64_t n = offsets.count();
  const auto size = [](int64_t v) { return static_cast<size_t>(v); };
  order_.resize(size(n));
  for (int64_t i = 0; i < n; ++i) order_[size(i)] = i;
  // Ties broken by index: std::sort and no std::stable_sort, which takes a buffer from the system.
  std::sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) {
    const int64_t la = offsets.length(a);
    const int64_t lb = offsets.length(b);
    return la != lb ? la > lb : a < b;
  });
  lengths_.resize(size(n));
  for (int64_t r = 0; r < n; ++r) lengths_[size(r)] = offsets.length(order_[size(r)]);

  const int64_t tokens = offsets.total();
  const int64_t steps = n == 0 ? 0 : lengths_[0];
  begins_.resize(size(steps) + 1);
  token_of_row_.resize(size(tokens));
  row_of_token_.resize(size(tokens));
  previous_row_.resize(size(tokens));
  begins_[0] = 0;
  int64_t alive = n;
  for (int64_t t = 0; t < steps; ++t) {
    while (alive > 0 && lengths_[size(alive - 1)] <= t) --alive;
    const int64_t first = begins_[size(t)];
    begins_[size(t) + 1] = first + alive;
    for (int64_t r = 0; r < alive; ++r) {
      const int64_t sequence = order_[size(r)];
      const int64_t token =
          direction == Direction::kForward ? offsets.begin(sequence) + t : offsets.end(sequence) - 1 - t;
      token_of_row_[size(first + r)] = token;
      row_of_token_[size(token)] = first + r;
      previous_row_[size(first + r)] = t == 0 ? -1 : begins_[size(t) - 1] + r;
    }
  }
}

int64_t TimeSteps::last_row(int64_t rank) const {
  const int64_t length = lengths_[static_cast<size_t>(rank)];
  return length == 0 ? -1 : begin(length - 1) + rank;
}

}  // namespace fovea::autograd
