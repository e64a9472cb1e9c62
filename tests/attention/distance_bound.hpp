// How far float arithmetic may be from attention on distances, to first order in its rounding u, when scores
// are computed from differences. Nothing in it grows with where q and k lie but τ, of Lorentzian scores.
//
//   a score: each difference is off by u, its square by 2u more, and D additions, the scale and the change to
//   units of log2 by (D + 5)u, the distance from the row's maximum by u: E = (D + 8)·u·scale·|q − k|².
//   Lorentzian scores add Δt², Δt = t(q) − t(k) from t in two parts: 5u·Δt², and τ·t·|Δt| for what is left of
//   t itself; |Δt| ≤ |q − k|
//
//   a weight: its row's scores, relatively e = E_j + Σ_k p_k·E_k, and (2L + 24)u for exp2, the sums over L
//   keys and what the softmax leaves of the row
//
//   out: Σ p·e·|v|;   dv: Σ p·e·|dout|
//
//   dS = p(dP − δ): F = p·((e + 2u)·|dP − δ| + Dv·u·Σ|dout·v| + Dv·u·Σ|dout·out| + Σ|dout|·(error of out))
//
//   dq = 2·scale·Σ dS·(k − q): 2·scale·Σ (F + (L + 8)·u·|dS|)·|k − q|, likewise dk; Lorentzian ones have
//   |k − q| + |Δt|·|q|/t(q) in place of |k − q|, and τ·|q_c|·Σ|dS|
//
//   dscales = Σ dS·s: Σ (F + (L + 8)·u·|dS|)·|s| + |dS|·E, E before the scale; a Lorentzian s may be small
//   beside E
#pragma once

#include <cmath>
#include <vector>

#include "tests/reference/attention.hpp"

namespace fovea::testing {

struct DistanceBound {
  double u = 0x1p-24, tau = 0;
  std::vector<double> weight, out, dq, dk, dv, dscales, mass, exact;  // as those of the reference

  // Of a reference after forward and backward.
  void of(const reference::Attention& r, const std::vector<double>& dout) {
    weight.assign(r.weights.size(), 0);
    exact.assign(r.weights.size(), 0);
    out.assign(r.out.size(), 0);
    dq.assign(r.dq.size(), 0);
    dk.assign(r.dk.size(), 0);
    dv.assign(r.dv_out.size(), 0);
    dscales.assign(static_cast<size_t>(r.heads), 0);
    mass.assign(static_cast<size_t>(r.lk * r.heads), 0);
    const double longest = static_cast<double>(std::max(r.lk, r.lq * r.heads / r.kv_heads));
    for (int64_t h = 0; h < r.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) row(r, dout, longest, h, i);
    }
  }

  // E before the scale, and τ's part of it.
  struct ScoreError {
    double all = 0, of_t = 0;
  };
  ScoreError score(const reference::Attention& r, int64_t h, int64_t i, int64_t j) const {
    const double* q = r.row(r.q, i, h, r.heads, r.d);
    const double* k = r.row(r.k, j, h / (r.heads / r.kv_heads), r.kv_heads, r.d);
    double square = 0, of_t = 0;
    for (int64_t c = 0; c < r.d; ++c) square += (q[c] - k[c]) * (q[c] - k[c]);
    if (r.neg_squared_lorentz) {
      const double tq = r.time(q, r.d), tk = r.time(k, r.d);
      square += (tq - tk) * (tq - tk);
      of_t = tau * std::max(tq, tk) * std::abs(tq - tk);
    }
    return {(static_cast<double>(r.d) + 8) * u * square + of_t, of_t};
  }

 private:
  static constexpr double kUnderflow = 1e-36;  // weights below are 0

  void row(const reference::Attention& r, const std::vector<double>& dout, double longest, int64_t h,
           int64_t i) {
    const int64_t g = h / (r.heads / r.kv_heads), first = (h * r.lq + i) * r.lk;
    const auto dv_width = static_cast<double>(r.dv);
    const double scale = std::abs(r.scale_of(h));
    const double *p = r.weights.data() + first, *q = r.row(r.q, i, h, r.heads, r.d);
    const double *go = r.row(dout, i, h, r.heads, r.dv), *o = r.row(r.out, i, h, r.heads, r.dv);
    const double tq = r.time(q, r.d);
    std::vector<double> error(static_cast<size_t>(r.lk)), of_t(error);
    double mean = 0, mean_of_t = 0;
    for (int64_t j = 0; j < r.lk; ++j) {
      const auto at = static_cast<size_t>(j);
      const ScoreError of_score = score(r, h, i, j);
      of_t[at] = scale * of_score.of_t;
      error[at] = scale * of_score.all;
      mean += p[j] * error[at];
      mean_of_t += p[j] * of_t[at];
    }
    double of_delta = 0, delta = 0;
    for (int64_t c = 0; c < r.dv; ++c) {
      double of_out = 0;
      for (int64_t j = 0; j < r.lk; ++j)
        of_out += relative(p, error, mean, longest, j) * std::abs(r.row(r.v, j, g, r.kv_heads, r.dv)[c]);
      out[static_cast<size_t>((i * r.heads + h) * r.dv + c)] = of_out + kUnderflow;
      of_delta += std::abs(go[c]) * (of_out + dv_width * u * std::abs(o[c]));
      delta += go[c] * o[c];
    }
    for (int64_t j = 0; j < r.lk; ++j) {
      const double* k = r.row(r.k, j, g, r.kv_heads, r.d);
      const double* v = r.row(r.v, j, g, r.kv_heads, r.dv);
      const double tk = r.time(k, r.d), dt = r.neg_squared_lorentz ? std::abs(tq - tk) : 0;
      const double e = relative(p, error, mean, longest, j);
      weight[static_cast<size_t>(first + j)] = e + kUnderflow;
      exact[static_cast<size_t>(first + j)] =
          p[j] * (2 * u + of_t[static_cast<size_t>(j)] + mean_of_t) + kUnderflow;
      mass[static_cast<size_t>(j * r.heads + h)] += e + kUnderflow;
      double dp = 0, products = 0;
      for (int64_t c = 0; c < r.dv; ++c) {
        dp += go[c] * v[c];
        products += std::abs(go[c] * v[c]);
        dv[static_cast<size_t>((j * r.kv_heads + g) * r.dv + c)] += e * std::abs(go[c]) + kUnderflow;
      }
      const double ds = p[j] * std::abs(dp - delta);
      const double f =
          (e + 2 * u * p[j]) * std::abs(dp - delta) + p[j] * (dv_width * u * products + of_delta);
      dscales[static_cast<size_t>(h)] +=
          (f + (longest + 8) * u * ds) * std::abs(r.raw(h, i, j)) + ds * score(r, h, i, j).all + kUnderflow;
      const double moved = 2 * scale * (f + (longest + 8) * u * ds) + kUnderflow;
      for (int64_t c = 0; c < r.d; ++c) {
        const double apart = std::abs(q[c] - k[c]), lost = 2 * scale * tau * ds;
        const bool lorentz = r.neg_squared_lorentz;
        dq[static_cast<size_t>((i * r.heads + h) * r.d + c)] +=
            moved * (apart + dt * std::abs(q[c]) / tq) + (lorentz ? lost * std::abs(q[c]) : 0);
        dk[static_cast<size_t>((j * r.kv_heads + g) * r.d + c)] +=
            moved * (apart + dt * std::abs(k[c]) / tk) + (lorentz ? lost * std::abs(k[c]) : 0);
      }
    }
  }

  // p·e
  double relative(const double* p, const std::vector<double>& error, double mean, double longest,
                  int64_t j) const {
    return p[j] * (error[static_cast<size_t>(j)] + mean + (2 * longest + 24) * u);
  }
};

}  // namespace fovea::testing
