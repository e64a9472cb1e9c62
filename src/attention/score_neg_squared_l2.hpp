// −|q − k|² = 2q·k − |q|² − |k|²: rows [2q, −|q|², −1] and [k, 1, |k|²].
#pragma once

#include "attention/score_rule.hpp"

namespace fovea {

struct NegSquaredL2Score {
  static constexpr bool kMakes = true;
  static constexpr int64_t kExtra = 2;
  static double scale(int64_t) { return 1.0; }

  template <class T>
  static RowTerms<T> terms(bool query, double squared) {
    const auto norm = static_cast<T>(squared);
    return query ? RowTerms<T>{T{2}, {-norm, T{-1}}} : RowTerms<T>{T{1}, {T{1}, norm}};
  }

  // dq = 2·dq'[…D] − 2q·dq'[D];   dk = dk'[…D] + 2k·dk'[D + 1]
  template <class T>
  static void pull_back(const ScoreSide<T>& side, const T* from, const HeadsView<T>& gradient) {
    const int64_t width = side.width();
    pull_rows(side, kExtra, from, gradient, [&](const T* x, const T* g, T* to) {
      const T along = side.query ? -g[width] : g[width + 1];
      for (int64_t c = 0; c < width; ++c) to[c] = (side.query ? T{2} * g[c] : g[c]) + T{2} * along * x[c];
    });
  }
};

}  // namespace fovea
