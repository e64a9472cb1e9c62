// −|q − k|² from the differences of q and k themselves: in float32 its error is at most (D + 2)·2⁻²⁴·|q −
// k|², wherever q and k lie.
#pragma once

#include "attention/score_rule.hpp"

namespace fovea {

struct NegSquaredL2Score {
  static constexpr bool kMakes = true;
  static constexpr bool kDifferences = true;
  static constexpr int64_t kExtra = 0;
  static double scale(int64_t) { return 1.0; }

  template <class T>
  static RowTerms<T> terms(bool, double) {
    return {};
  }

  // dx = 2·Σ dS·(y − x)
  template <class T>
  static void pull_back(const ScoreSide<T>& side, const T* from, const HeadsView<T>& gradient) {
    const int64_t width = side.width();
    pull_rows(side, kExtra, from, gradient, [&](const T*, const T* g, T* to) {
      for (int64_t c = 0; c < width; ++c) to[c] = T{2} * g[c];
    });
  }
};

}  // namespace fovea
