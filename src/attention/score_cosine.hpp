// q·k / (|q| |k|): rows of length one.
#pragma once

#include "attention/score_rule.hpp"

namespace fovea {

struct CosineScore {
  static constexpr int64_t kExtra = 0;
  static constexpr bool kQuery = true, kKey = true;
  static double scale(int64_t) { return 1.0; }

  // x/|x|
  template <class T>
  static void make(const ScoreSide<T>& side, T* rows) {
    const int64_t width = side.width();
    for_rows(side, [&](int64_t n, int64_t i, int64_t h, int64_t row) {
      const T* x = row_of(side.x, side.offsets, n, i, h);
      const T factor = inverse_norm(x, width);
      for (int64_t c = 0; c < width; ++c) rows[row * width + c] = x[c] * factor;
    });
  }

  // (g − u(u·g)) / |x| with u = x/|x|
  template <class T>
  static void pull_back(const ScoreSide<T>& side, const T* from, const HeadsView<T>& gradient) {
    const int64_t width = side.width();
    pull_rows(side, kExtra, from, gradient, [&](const T* x, const T* g, T* to) {
      const T factor = inverse_norm(x, width);
      double along = 0;
      for (int64_t c = 0; c < width; ++c)
        along += static_cast<double>(g[c]) * static_cast<double>(x[c] * factor);
      for (int64_t c = 0; c < width; ++c) to[c] = factor * (g[c] - x[c] * factor * static_cast<T>(along));
    });
  }

 private:
  // 0 for rows so short that their direction is noise: they score 0.
  template <class T>
  static T inverse_norm(const T* x, int64_t width) {
    const auto norm = static_cast<T>(std::sqrt(squared_norm(x, width)));
    return norm < static_cast<T>(1e-12) ? T{0} : T{1} / norm;
  }
};

}  // namespace fovea
