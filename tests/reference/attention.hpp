// Attention of one sequence in float64, by the definition: no trick, no engine.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace reference {

struct Attention {
  int64_t lq = 0, lk = 0, heads = 1, kv_heads = 1, d = 1, dv = 1;
  double scale = 1.0, softcap = 0.0, keep_scale = 1.0;
  std::vector<double> scales;  // [heads] or empty: in place of scale
  bool causal = false, cosine = false, neg_squared_l2 = false, neg_squared_lorentz = false;
  int64_t left = -1, right = -1;
  std::vector<double> q, k, v;  // [lq][heads][d], [lk][kv_heads][d], [lk][kv_heads][dv]
  std::vector<double> sinks;    // [heads] or empty
  std::function<double(int64_t h, int64_t distance)> bias;  // of distance i' − j; empty: none
  // Of any shape; −∞ hides. And whether masks other than causal and window let i see j. Empty: none, and all.
  std::function<double(int64_t h, int64_t i, int64_t j)> full_bias;
  std::function<bool(int64_t h, int64_t i, int64_t j)> allowed;
  std::function<bool(int64_t h, int64_t i, int64_t j)> kept;  // dropout; empty: all

  std::vector<double> dlse;  // [lq][heads]: the gradient of lse, for backward; empty: zeros

  // Results of forward.
  std::vector<double> out, lse, weights;  // [lq][heads][dv], [lq][heads], [heads][lq][lk] before dropout
  // Results of backward.
  std::vector<double> dq, dk, dv_out, dsinks;  // as q, k, v, sinks
  std::vector<double> dbias;                   // [heads][lq][lk]: of the biased score
  std::vector<double> dscales;                 // [heads]

  bool sees(int64_t i, int64_t j) const {
    const int64_t p = i + lk - lq;
    if (causal && j > p) return false;
    if (left >= 0 && j < p - left) return false;
    return right < 0 || j <= p + right;
  }
  bool sees(int64_t h, int64_t i, int64_t j) const {
    if (!sees(i, j) || (allowed && !allowed(h, i, j))) return false;
    return !full_bias || full_bias(h, i, j) != -std::numeric_limits<double>::infinity();
  }
  double scale_of(int64_t h) const { return scales.empty() ? scale : scales[static_cast<size_t>(h)]; }
  const double* row(const std::vector<double>& x, int64_t t, int64_t h, int64_t count, int64_t width) const {
    return x.data() + (t * count + h) * width;
  }
  static double norm(const double* x, int64_t n) {
    double s = 0;
    for (int64_t c = 0; c < n; ++c) s += x[c] * x[c];
    return std::sqrt(s);
  }
  static double time(const double* x, int64_t n) { return std::sqrt(1 + norm(x, n) * norm(x, n)); }
  // q·k, the cosine, −|q − k|², or minus the squared Lorentzian distance, 2 + 2(q·k − t(q)·t(k)), which is
  // −|q − k|² + (t(q) − t(k))² since t(x)² = 1 + |x|²; so written, float64 does for rows far from the origin.
  double raw(int64_t h, int64_t i, int64_t j) const {
    const double* a = row(q, i, h, heads, d);
    const double* b = row(k, j, h / (heads / kv_heads), kv_heads, d);
    double s = 0;
    const bool distance = neg_squared_l2 || neg_squared_lorentz;
    for (int64_t c = 0; c < d; ++c) s += distance ? -(a[c] - b[c]) * (a[c] - b[c]) : a[c] * b[c];
    if (neg_squared_lorentz) {
      const double t = time(a, d) - time(b, d);
      return s + t * t;
    }
    if (!cosine) return s;
    const double n = norm(a, d) * norm(b, d);
    return n == 0 ? 0 : s / n;
  }

  void forward() {
    const double inf = std::numeric_limits<double>::infinity();
    out.assign(static_cast<size_t>(lq * heads * dv), 0);
    lse.assign(static_cast<size_t>(lq * heads), -inf);
    weights.assign(static_cast<size_t>(heads * lq * lk), 0);
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < lq; ++i) {
        double* w = weights.data() + (h * lq + i) * lk;
        double max = sinks.empty() ? -inf : sinks[static_cast<size_t>(h)];
        for (int64_t j = 0; j < lk; ++j) {
          if (!sees(h, i, j)) continue;
          double s = raw(h, i, j) * scale_of(h);
          if (softcap > 0) s = softcap * std::tanh(s / softcap);
          if (bias) s += bias(h, i + lk - lq - j);
          if (full_bias) s += full_bias(h, i, j);
          w[j] = s;
          max = std::max(max, s);
        }
        if (max == -inf) continue;
        double sum = sinks.empty() ? 0 : std::exp(sinks[static_cast<size_t>(h)] - max);
        for (int64_t j = 0; j < lk; ++j) {
          if (sees(h, i, j)) sum += std::exp(w[j] - max);
        }
        lse[static_cast<size_t>(i * heads + h)] = max + std::log(sum);
        double* o = out.data() + (i * heads + h) * dv;
        for (int64_t j = 0; j < lk; ++j) {
          w[j] = sees(h, i, j) ? std::exp(w[j] - max) / sum : 0;
          if (kept && !kept(h, i, j)) continue;
          const double* value = row(v, j, h / (heads / kv_heads), kv_heads, dv);
          for (int64_t c = 0; c < dv; ++c) o[c] += w[j] * keep_scale * value[c];
        }
      }
    }
  }

  // Gradients of Σ dout·out + Σ dlse·lse; forward() first.
  void backward(const std::vector<double>& dout) {
    dq.assign(q.size(), 0);
    dk.assign(k.size(), 0);
    dv_out.assign(v.size(), 0);
    dsinks.assign(sinks.size(), 0);
    dbias.assign(weights.size(), 0);
    dscales.assign(static_cast<size_t>(heads), 0);
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t g = h / (heads / kv_heads);
      for (int64_t i = 0; i < lq; ++i) {
        const double* w = weights.data() + (h * lq + i) * lk;
        const double* go = row(dout, i, h, heads, dv);
        const double* o = row(out, i, h, heads, dv);
        double delta = dlse.empty() ? 0 : -dlse[static_cast<size_t>(i * heads + h)];
        for (int64_t c = 0; c < dv; ++c) delta += go[c] * o[c];
        if (!sinks.empty()) {
          const auto at = static_cast<size_t>(h);
          dsinks[at] -= delta * std::exp(sinks[at] - lse[static_cast<size_t>(i * heads + h)]);
        }
        for (int64_t j = 0; j < lk; ++j) {
          if (!sees(h, i, j)) continue;
          const double keep = kept && !kept(h, i, j) ? 0 : keep_scale;
          double dp = 0;
          for (int64_t c = 0; c < dv; ++c) {
            dp += go[c] * row(v, j, g, kv_heads, dv)[c];
            dv_out[static_cast<size_t>((j * kv_heads + g) * dv + c)] += w[j] * keep * go[c];
          }
          double ds = w[j] * (dp * keep - delta);
          dbias[static_cast<size_t>((h * lq + i) * lk + j)] = ds;
          const double r = raw(h, i, j);
          if (softcap > 0) {
            const double t = std::tanh(r * scale_of(h) / softcap);
            ds *= 1 - t * t;
          }
          dscales[static_cast<size_t>(h)] += ds * r;
          score_backward(h, g, i, j, r, ds * scale_of(h));
        }
      }
    }
  }

 private:
  void score_backward(int64_t h, int64_t g, int64_t i, int64_t j, double r, double ds) {
    const double* a = row(q, i, h, heads, d);
    const double* b = row(k, j, g, kv_heads, d);
    double* da = dq.data() + (i * heads + h) * d;
    double* db = dk.data() + (j * kv_heads + g) * d;
    const double na = cosine ? norm(a, d) : 1, nb = cosine ? norm(b, d) : 1;
    if (na == 0 || nb == 0) return;  // the engine gives a zero row no gradient
    for (int64_t c = 0; c < d; ++c) {
      if (neg_squared_l2) {
        da[c] -= 2 * ds * (a[c] - b[c]);
        db[c] += 2 * ds * (a[c] - b[c]);
        continue;
      }
      if (neg_squared_lorentz) {
        const double ta = time(a, d), tb = time(b, d);
        da[c] += 2 * ds * (b[c] - a[c] - (tb - ta) * a[c] / ta);
        db[c] += 2 * ds * (a[c] - b[c] - (ta - tb) * b[c] / tb);
        continue;
      }
      da[c] += ds * (b[c] / (na * nb) - (cosine ? r * a[c] / (na * na) : 0));
      db[c] += ds * (a[c] / (na * nb) - (cosine ? r * b[c] / (nb * nb) : 0));
    }
  }
};

}  // namespace reference
