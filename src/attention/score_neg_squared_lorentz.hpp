// −d² of the Lorentz model of hyperbolic space, 2 + 2⟨q̂, k̂⟩ with x̂ = (t(x), x), t(x) = √(1 + |x|²) and
// ⟨q̂, k̂⟩ = q·k − t(q)·t(k): rows [2q, −2t(q), 2] and [k, t(k), 1].
#pragma once

#include "attention/score_rule.hpp"

namespace fovea {

struct NegSquaredLorentzScore {
  static constexpr bool kMakes = true;
  static constexpr int64_t kExtra = 2;
  static double scale(int64_t) { return 1.0; }

  template <class T>
  static RowTerms<T> terms(bool query, double squared) {
    const auto t = static_cast<T>(std::sqrt(1.0 + squared));
    return query ? RowTerms<T>{T{2}, {T{-2} * t, T{2}}} : RowTerms<T>{T{1}, {t, T{1}}};
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
