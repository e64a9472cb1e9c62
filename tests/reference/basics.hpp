// Rowwise and elementwise operations in float64, as their definitions state them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

namespace reference {

using Vec = std::vector<double>;

inline double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}
inline double normal_cdf(double x) {
  return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}
inline double normal_density(double x) {
  return std::exp(-x * x / 2.0) / std::sqrt(2.0 * std::numbers::pi);
}

// name: relu gelu gelu_tanh silu sigmoid tanh, by index 0…5.
inline double activation(int act, double x) {
  switch (act) {
    case 0:
      return x > 0.0 ? x : 0.0;
    case 1:
      return x * normal_cdf(x);
    case 2:
      return x * sigmoid(2.0 * std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x));
    case 3:
      return x * sigmoid(x);
    case 4:
      return sigmoid(x);
    default:
      return std::tanh(x);
  }
}

inline double activation_slope(int act, double x) {
  switch (act) {
    case 0:
      return x > 0.0 ? 1.0 : 0.0;
    case 1:
      return normal_cdf(x) + x * normal_density(x);
    case 2: {
      const double c = std::sqrt(2.0 / std::numbers::pi);
      const double s = sigmoid(2.0 * c * (x + 0.044715 * x * x * x));
      return s + x * s * (1.0 - s) * 2.0 * c * (1.0 + 3.0 * 0.044715 * x * x);
    }
    case 3: {
      const double s = sigmoid(x);
      return s + x * s * (1.0 - s);
    }
    case 4:
      return sigmoid(x) * (1.0 - sigmoid(x));
    default:
      return 1.0 - std::tanh(x) * std::tanh(x);
  }
}

struct Norm {
  Vec y, mean, rstd;
};

// LayerNorm when centred, else RMSNorm; gamma and beta may be empty.
inline Norm norm(size_t rows, size_t cols, const Vec& x, const Vec& gamma, const Vec& beta, double eps,
                 bool centred) {
  Norm out{Vec(rows * cols), Vec(rows), Vec(rows)};
  for (size_t r = 0; r < rows; ++r) {
    double mean = 0.0, variance = 0.0;
    for (size_t c = 0; centred && c < cols; ++c) mean += x[r * cols + c] / static_cast<double>(cols);
    for (size_t c = 0; c < cols; ++c) {
      variance += (x[r * cols + c] - mean) * (x[r * cols + c] - mean) / static_cast<double>(cols);
    }
    out.mean[r] = mean;
    out.rstd[r] = 1.0 / std::sqrt(variance + eps);
    for (size_t c = 0; c < cols; ++c) {
      const double unit = (x[r * cols + c] - mean) * out.rstd[r];
      out.y[r * cols + c] = unit * (gamma.empty() ? 1.0 : gamma[c]) + (beta.empty() ? 0.0 : beta[c]);
    }
  }
  return out;
}

struct NormGradient {
  Vec dx, dgamma, dbeta;
};

inline NormGradient norm_gradient(size_t rows, size_t cols, const Vec& x, const Vec& gamma, const Norm& f,
                                  const Vec& dy, bool centred) {
  NormGradient out{Vec(rows * cols), Vec(cols), Vec(cols)};
  const auto n = static_cast<double>(cols);
  for (size_t r = 0; r < rows; ++r) {
    double sum_g = 0.0, sum_gu = 0.0;
    for (size_t c = 0; c < cols; ++c) {
      const double unit = (x[r * cols + c] - f.mean[r]) * f.rstd[r];
      const double g = dy[r * cols + c] * (gamma.empty() ? 1.0 : gamma[c]);
      sum_g += centred ? g : 0.0;
      sum_gu += g * unit;
      out.dgamma[c] += dy[r * cols + c] * unit;
      out.dbeta[c] += dy[r * cols + c];
    }
    for (size_t c = 0; c < cols; ++c) {
      const double unit = (x[r * cols + c] - f.mean[r]) * f.rstd[r];
      const double g = dy[r * cols + c] * (gamma.empty() ? 1.0 : gamma[c]);
      out.dx[r * cols + c] = f.rstd[r] * (g - sum_g / n - unit * sum_gu / n);
    }
  }
  return out;
}

// log Σ e^x of one row; -inf when every element is.
inline double log_sum_exp(size_t cols, const double* x) {
  double top = -std::numeric_limits<double>::infinity();
  for (size_t c = 0; c < cols; ++c) top = std::fmax(top, x[c]);
  if (std::isinf(top) && top < 0.0) return top;
  double total = 0.0;
  for (size_t c = 0; c < cols; ++c) total += std::exp(x[c] - top);
  return top + std::log(total);
}

inline Vec softmax(size_t rows, size_t cols, const Vec& x) {
  Vec y(rows * cols);
  for (size_t r = 0; r < rows; ++r) {
    const double lse = log_sum_exp(cols, x.data() + r * cols);
    for (size_t c = 0; c < cols; ++c)
      y[r * cols + c] = std::isinf(lse) ? 0.0 : std::exp(x[r * cols + c] - lse);
  }
  return y;
}

// Loss of one row and its gradient; weights may be empty.
inline double cross_entropy(size_t cols, const double* x, size_t target, double smoothing, const Vec& weights,
                            double* dx) {
  const double lse = log_sum_exp(cols, x);
  const auto weight = [&](size_t c) { return weights.empty() ? 1.0 : weights[c]; };
  double loss = 0.0, mass = 0.0;
  for (size_t c = 0; c < cols; ++c) {
    const double share =
        weight(c) * ((c == target ? 1.0 - smoothing : 0.0) + smoothing / static_cast<double>(cols));
    loss += share * (lse - x[c]);
    mass += share;
    dx[c] = -share;
  }
  for (size_t c = 0; c < cols; ++c) dx[c] += mass * std::exp(x[c] - lse);
  return loss;
}

}  // namespace reference
