// q·k / (|q| |k|): rows of length one.
#pragma once

#include "attention/score_rule.hpp"

namespace fovea {

struct CosineScore {
  static constexpr bool kMakes = true;
  static constexpr bool kDifferences = false;
  static constexpr int64_t kExtra = 0;
  static double scale(int64_t) { return 1.0; }

  // x/|x|; 0 for rows so short that their direction is noise: they score 0.
  template <class T>
  static RowTerms<T> terms(bool, double squared) {
    const auto norm = static_cast<T>(std::sqrt(squared));
    return {norm < static_cast<T>(1e-12) ? T{0} : T{1} / norm, {}};
  }

  // (g − u(u·g)) / |x| with u = x/|x|
  template <class T>
  static void pull_back(const ScoreSide<T>& side, const T* from, const HeadsView<T>& gradient) {
    const int64_t width = side.width();
    pull_rows(side, kExtra, from, gradient, [&](const T* x, const T* g, T* to) {
      const T factor = terms<T>(side.query, squared_norm(x, width)).factor;
      double along = 0;
      for (int64_t c = 0; c < width; ++c)
        along += static_cast<double>(g[c]) * static_cast<double>(x[c] * factor);
      for (int64_t c = 0; c < width; ++c) to[c] = factor * (g[c] - x[c] * factor * static_cast<T>(along));
    });
  }
};

}  // namespace fovea
