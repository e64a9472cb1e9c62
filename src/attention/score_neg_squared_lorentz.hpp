// −d² of the Lorentz model of hyperbolic space, 2 + 2⟨q̂, k̂⟩ with x̂ = (t(x), x), t(x) = √(1 + |x|²) and
// ⟨q̂, k̂⟩ = q·k − t(q)·t(k). Since ⟨x̂, x̂⟩ = −1, that is −|q − k|² + (t(q) − t(k))², of which neither term
// grows with |q| and |k|: rows [x, t, t'], t' what t's rounding left. In float32 its error is at most
// (D + 8)·2⁻²⁴·|q − k|² and 2⁻⁴¹·t·|q − k| for t itself: t + t' is off by 2⁻⁴⁸·t, Δt and Δt' by twice as much
// each, and Σ x² of float64, to D = 1024, by less.
#pragma once

#include "attention/score_rule.hpp"

namespace fovea {

struct NegSquaredLorentzScore {
  static constexpr bool kMakes = true;
  static constexpr bool kDifferences = true;
  static constexpr int64_t kExtra = 2;
  static double scale(int64_t) { return 1.0; }

  template <class T>
  static RowTerms<T> terms(bool, double squared) {
    const double t = std::sqrt(1.0 + squared);
    const T high = static_cast<T>(t);
    return {T{1}, {high, static_cast<T>(t - static_cast<double>(high))}};
  }

  // dx = 2·Σ dS·(y − x) − 2·x/t(x)·Σ dS·(t(y) − t(x))
  template <class T>
  static void pull_back(const ScoreSide<T>& side, const T* from, const HeadsView<T>& gradient) {
    const int64_t width = side.width();
    pull_rows(side, kExtra, from, gradient, [&](const T* x, const T* g, T* to) {
      const auto t = static_cast<T>(std::sqrt(1.0 + squared_norm(x, width)));
      const T along = (g[width] + g[width + 1]) / t;
      for (int64_t c = 0; c < width; ++c) to[c] = T{2} * (g[c] - along * x[c]);
    });
  }
};

}  // namespace fovea
