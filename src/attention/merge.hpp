// The one way in which attention over two disjoint sets of keys becomes attention over both.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "fovea/kernels/softmax_row.hpp"

namespace fovea {

// How much of the whole falls on each of two parts; one of them has keys.
struct MergeShares {
  float own = 0, part = 0;  // sums of weights in units of 2^max of `whole`
  SoftmaxRow whole;
  float own_share() const { return own / (own + part); }
  float part_share() const { return part / (own + part); }
};
inline MergeShares shares_of(const SoftmaxRow& own, const SoftmaxRow& part) {
  MergeShares s;
  s.whole.max = std::max(own.max, part.max);
  s.own = std::exp2((own.max - s.whole.max) + own.log_sum);
  s.part = std::exp2((part.max - s.whole.max) + part.log_sum);
  s.whole.log_sum = std::log2(s.own + s.part);
  return s;
}

// x, row := the result over the keys of both; out normalised within its part.
inline void merge_row(float* x, SoftmaxRow& row, const float* part, const SoftmaxRow& part_row,
                      int64_t width) {
  if (part_row.empty()) return;
  const MergeShares s = shares_of(row, part_row);
  for (int64_t c = 0; c < width; ++c) x[c] = (s.own * x[c] + s.part * part[c]) / (s.own + s.part);
  row = s.whole;
}

}  // namespace fovea
