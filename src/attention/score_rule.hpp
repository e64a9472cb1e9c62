// What a score is made of. Every score is a dot product of rows that are made from those of q and k, or
// −Σ (q − k)² over them, so that one kernel serves all: a rule says how they are made, and pulls the gradient
// back.
//
// A rule is a struct of
//
//   kMakes:        whether it makes rows of its own; else q and k are taken as they are
//
//   kExtra:        how many columns its rows have more than q's and k's, at most 2
//
//   kDifferences:  whether the score is −Σ (q − k)² over the columns of the rows instead of their product; of
//                  two extra columns, the parts t and t' of one number, the score has +(Δt + Δt')². The
//                  gradient of a row x is then taken as Σ dS·(y − x) over its partners y, in every column.
//
//   scale(width):  the scale when the caller gives none
//
//   terms<T>(query, squared):   what the row made of a row x of q, or of k, with |x|² = squared, consists of
//
//   pull_back<T>(side, from, gradient):   the gradient of the side's rows from that of the made ones
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "attention/sequence.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {

// The row made of x is [factor·x, extra …].
template <class T>
struct RowTerms {
  T factor{1};
  T extra[2]{};
};

// q or k of a call.
template <class T>
struct ScoreSide {
  bool query;
  HeadsView<const T> x;
  const Offsets& offsets;

  int64_t width() const { return x.dim(2); }
};

// Calls use(n, i, h, row) for every row of a side, row counting in a contiguous [T, heads].
template <class T, class Use>
void for_rows(const ScoreSide<T>& side, Use use) {
  const int64_t heads = side.x.dim(1);
  const int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(1, heads * side.width()));
  parallel_for(side.x.dim(0), grain, [&](int64_t begin, int64_t end) {
    for_tokens(side.offsets, begin, end, [&](int64_t n, int64_t i, int64_t t) {
      for (int64_t h = 0; h < heads; ++h) use(n, i, h, t * heads + h);
    });
  });
}

// Calls use(x, g, to) for every row x of a side, g the gradient of the made row and `to` the place of x's
// own. Where g is 0, so is that, whatever x holds: a NaN that nobody sees has no gradient.
template <class T, class Use>
void pull_rows(const ScoreSide<T>& side, int64_t extra, const T* from, const HeadsView<T>& gradient,
               Use use) {
  const int64_t width = side.width() + extra;
  for_rows(side, [&](int64_t n, int64_t i, int64_t h, int64_t row) {
    const T* g = from + row * width;
    T* to = row_of(gradient, side.offsets, n, i, h);
    if (std::all_of(g, g + width, [](T x) { return x == T{0}; })) {
      std::fill_n(to, side.width(), T{0});
    } else {
      use(row_of(side.x, side.offsets, n, i, h), g, to);
    }
  });
}

template <class T>
double squared_norm(const T* x, int64_t width) {
  double sum = 0;
  for (int64_t c = 0; c < width; ++c) sum += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return sum;
}

// The rows of one side, [T, heads, width + kExtra] contiguous.
template <class Rule, class T>
void make_side(const ScoreSide<T>& side, T* rows) {
  const int64_t width = side.width();
  for_rows(side, [&](int64_t n, int64_t i, int64_t h, int64_t row) {
    const T* x = row_of(side.x, side.offsets, n, i, h);
    const RowTerms<T> terms = Rule::template terms<T>(side.query, squared_norm(x, width));
    T* to = rows + row * (width + Rule::kExtra);
    for (int64_t c = 0; c < width; ++c) to[c] = terms.factor * x[c];
    for (int64_t e = 0; e < Rule::kExtra; ++e) to[width + e] = terms.extra[e];
  });
}

// −Σ (q − k)² over rows of `width` columns, in T; `timelike` as of kernels::AttentionHead.
template <class T, class X>
T negative_distance(const X* q, const X* k, int64_t width, bool timelike) {
  const int64_t columns = timelike ? width - 2 : width;
  T lane[8] = {};  // side by side, for speed and a shorter chain of roundings
  int64_t c = 0;
  const auto squared = [&](int64_t at) {
    const T x = static_cast<T>(q[at]) - static_cast<T>(k[at]);
    return x * x;
  };
  for (; c + 8 <= columns; c += 8) {
    for (int64_t l = 0; l < 8; ++l) lane[l] += squared(c + l);
  }
  for (int64_t l = 0; c < columns; ++c, ++l) lane[l] += squared(c);
  const T sum = ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
  if (!timelike) return -sum;
  const T t = (static_cast<T>(q[columns]) - static_cast<T>(k[columns])) +
              (static_cast<T>(q[columns + 1]) - static_cast<T>(k[columns + 1]));
  return t * t - sum;
}

// q·k of the rows as they are.
struct DotScore {
  static constexpr bool kMakes = false;
  static constexpr bool kDifferences = false;
  static constexpr int64_t kExtra = 0;
  static double scale(int64_t) { return 1.0; }
  template <class T>
  static RowTerms<T> terms(bool, double) {
    return {};
  }
  template <class T>
  static void pull_back(const ScoreSide<T>&, const T*, const HeadsView<T>&) {}
};

struct ScaledDotScore : DotScore {
  static double scale(int64_t width) { return 1.0 / std::sqrt(static_cast<double>(width)); }
};

}  // namespace fovea
