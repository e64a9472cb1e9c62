// −d² of the Lorentz model of hyperbolic space, 2 + 2⟨q̂, k̂⟩ with x̂ = (t(x), x), t(x) = √(1 + |x|²) and
// ⟨q̂, k̂⟩ = q·k − t(q)·t(k): rows [2q, −2t(q), 2] and [k, t(k), 1].
#pragma once

#include "attention/score_rule.hpp"

namespace fovea {

struct NegSquaredLorentzScore {
  static constexpr int64_t kExtra = 2;
  static constexpr bool kQuery = true, kKey = true;
  static double scale(int64_t) { return 1.0; }

  template <class T>
  static void make(const ScoreSide<T>& side, T* rows) {
    const int64_t width = side.width();
    for_rows(side, [&](int64_t n, int64_t i, int64_t h, int64_t row) {
      const T* x = row_of(side.x, side.offsets, n, i, h);
      const auto t = static_cast<T>(std::sqrt(1.0 + squared_norm(x, width)));
      const T factor = side.query ? T{2} : T{1};
      T* to = rows + row * (width + kExtra);
      for (int64_t c = 0; c < width; ++c) to[c] = factor * x[c];
      to[width] = side.query ? T{-2} * t : t;
      to[width + 1] = factor;
    });
  }

  // dq = 2·dq'[…D] − 2·dq'[D]·q/t(q);   dk = dk'[…D] + dk'[D]·k/t(k)
  template <class T>
  static void pull_back(const ScoreSide<T>& side, const T* from, const HeadsView<T>& gradient) {
    const int64_t width = side.width();
    pull_rows(side, kExtra, from, gradient, [&](const T* x, const T* g, T* to) {
      const auto t = static_cast<T>(std::sqrt(1.0 + squared_norm(x, width)));
      const T factor = side.query ? T{2} : T{1}, along = (side.query ? T{-2} : T{1}) * g[width] / t;
      for (int64_t c = 0; c < width; ++c) to[c] = factor * g[c] + along * x[c];
    });
  }
};

}  // namespace fovea
