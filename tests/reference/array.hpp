// Plain float64 arrays and naive formulas for the references of differentiable operations. Includes nothing
// of the engine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace fovea::reference {

struct Array {
  std::vector<int64_t> dims;
  std::vector<double> data;

  int64_t dim(int i) const { return dims[static_cast<size_t>(i)]; }
  int64_t size() const { return static_cast<int64_t>(data.size()); }
  double& at(int64_t i) { return data[static_cast<size_t>(i)]; }
  double at(int64_t i) const { return data[static_cast<size_t>(i)]; }
  double& at(int64_t r, int64_t c) { return at(r * dims[1] + c); }
  double at(int64_t r, int64_t c) const { return at(r * dims[1] + c); }
};

inline Array zeros(std::vector<int64_t> dims) {
  int64_t n = 1;
  for (const int64_t d : dims) n *= d;
  return {std::move(dims), std::vector<double>(static_cast<size_t>(n), 0.0)};
}

// C = A·B, or A·Bᵀ.
inline Array matmul(const Array& a, const Array& b, bool transpose_b = false) {
  const int64_t n = b.dim(transpose_b ? 0 : 1);
  Array c = zeros({a.dim(0), n});
  for (int64_t i = 0; i < a.dim(0); ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double s = 0;
      for (int64_t k = 0; k < a.dim(1); ++k) s += a.at(i, k) * (transpose_b ? b.at(j, k) : b.at(k, j));
      c.at(i, j) = s;
    }
  }
  return c;
}

inline Array linear(const Array& x, const Array& w, const Array* bias) {
  Array y = matmul(x, w, true);
  if (bias != nullptr) {
    for (int64_t i = 0; i < y.dim(0); ++i) {
      for (int64_t j = 0; j < y.dim(1); ++j) y.at(i, j) += bias->at(j);
    }
  }
  return y;
}

inline double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}
inline double gelu(double x) {
  return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
}
inline double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

template <class F>
Array map(Array x, F&& f) {
  for (double& v : x.data) v = f(v);
  return x;
}

// log Σ exp of n values `stride` apart.
inline double log_sum_exp(const double* x, int64_t n) {
  double top = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; ++i) top = std::max(top, x[i]);
  if (std::isinf(top)) return top;
  double s = 0;
  for (int64_t i = 0; i < n; ++i) s += std::exp(x[i] - top);
  return top + std::log(s);
}

inline Array log_softmax(Array x) {
  for (int64_t r = 0; r < x.dim(0); ++r) {
    double* row = x.data.data() + r * x.dim(1);
    const double lse = log_sum_exp(row, x.dim(1));
    for (int64_t c = 0; c < x.dim(1); ++c) row[c] -= lse;
  }
  return x;
}

// Rows shifted to mean 0 (when `centre`) and scaled to variance 1, then gamma and beta.
inline Array norm(Array x, const Array* gamma, const Array* beta, double eps, bool centre) {
  const auto n = static_cast<double>(x.dim(1));
  for (int64_t r = 0; r < x.dim(0); ++r) {
    double mean = 0;
    double square = 0;
    if (centre) {
      for (int64_t c = 0; c < x.dim(1); ++c) mean += x.at(r, c) / n;
    }
    for (int64_t c = 0; c < x.dim(1); ++c) square += (x.at(r, c) - mean) * (x.at(r, c) - mean) / n;
    const double rstd = 1 / std::sqrt(square + eps);
    for (int64_t c = 0; c < x.dim(1); ++c) {
      x.at(r, c) = (x.at(r, c) - mean) * rstd * (gamma == nullptr ? 1 : gamma->at(c)) +
                   (beta == nullptr ? 0 : beta->at(c));
    }
  }
  return x;
}

struct CrossEntropy {
  double smoothing = 0;
  std::vector<double> weights;  // empty: all 1
  int64_t ignore = -100;
};

// One loss a row; `total_weight` receives what the mean divides by.
inline Array cross_entropy(const Array& logits, const std::vector<int64_t>& targets, const CrossEntropy& o,
                           double* total_weight) {
  const int64_t v = logits.dim(1);
  const Array p = log_softmax(logits);
  Array loss = zeros({logits.dim(0)});
  *total_weight = 0;
  for (int64_t r = 0; r < logits.dim(0); ++r) {
    const int64_t t = targets[static_cast<size_t>(r)];
    if (t == o.ignore) continue;
    const auto w = [&](int64_t c) { return o.weights.empty() ? 1.0 : o.weights[static_cast<size_t>(c)]; };
    *total_weight += w(t);
    double smooth = 0;
    for (int64_t c = 0; c < v; ++c) smooth -= w(c) * p.at(r, c);
    loss.at(r) = -(1 - o.smoothing) * w(t) * p.at(r, t) + o.smoothing / static_cast<double>(v) * smooth;
  }
  return loss;
}

}  // namespace fovea::reference
