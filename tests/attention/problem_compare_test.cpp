// Results of a problem against the reference's, each within a bound on the rounding of float32.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/attention/problem.hpp"

namespace fovea::testing {
namespace {

constexpr double kEps = 0x1p-23;

double largest(const std::vector<double>& x) {
  double most = 0;
  for (const double value : x) most = std::max(most, std::abs(value));
  return most;
}

// max |dP| + max |δ|, dP = dout·v scaled by dropout, δ = dout·out − dlse.
double largest_gradient(const reference::Attention& r, const std::vector<double>& dout) {
  double dp_most = 0, delta_most = 0;
  for (int64_t h = 0; h < r.heads; ++h) {
    for (int64_t i = 0; i < r.lq; ++i) {
      const double* go = r.row(dout, i, h, r.heads, r.dv);
      double delta = r.dlse.empty() ? 0 : -r.dlse[static_cast<size_t>(i * r.heads + h)];
      for (int64_t c = 0; c < r.dv; ++c) delta += go[c] * r.row(r.out, i, h, r.heads, r.dv)[c];
      delta_most = std::max(delta_most, std::abs(delta));
      for (int64_t j = 0; j < r.lk; ++j) {
        double dp = 0;
        for (int64_t c = 0; c < r.dv; ++c)
          dp += go[c] * r.row(r.v, j, h / (r.heads / r.kv_heads), r.kv_heads, r.dv)[c];
        dp_most = std::max(dp_most, std::abs(dp));
      }
    }
  }
  return dp_most * r.keep_scale + delta_most;
}

int failures = 0;

void compare(const Tensor& got, int64_t begin, const std::vector<double>& want, double tolerance,
             const char* what, const std::string& description) {
  const int64_t width = got.dim(0) == 0 ? 0 : got.numel() / got.dim(0);
  for (size_t i = 0; i < want.size(); ++i) {
    const double value = static_cast<double>(got.data()[begin * width + static_cast<int64_t>(i)]);
    const bool same_infinity = std::isinf(want[i]) && value == want[i];
    if (same_infinity || std::abs(value - want[i]) <= tolerance) continue;
    if (++failures < 20) {
      ADD_FAILURE() << what << "[" << i << "] expected " << want[i] << ", got " << value << ", tolerance "
                    << tolerance << " in " << description;
    }
    return;
  }
}

}  // namespace

double summed_rows(const Problem& p, int64_t queries) {
  return (p.bias[1] ? 1.0 : static_cast<double>(p.heads)) * (p.bias[2] ? 1.0 : static_cast<double>(queries));
}

void expect_equal_to_reference(const Arrays& a, const Results& results, bool backward) {
  const Problem& p = a.problem;
  const std::string description = p.describe();
  ParameterSums sums(a);
  double parameter_tolerance = 0, scale_tolerance = 0, bias_tolerance = 0;
  for (int64_t n = 0; n < a.q_offsets.count(); ++n) {
    reference::Attention r = make_reference(a, n);
    r.forward();
    const auto root = [](int64_t x) { return std::sqrt(static_cast<double>(x)); };
    const double qm = largest(r.q), km = largest(r.k), vm = largest(r.v);
    double products = 0, bias = 0, full_bias = 0, lse = 0, scale = 0;
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        const double l = r.lse[static_cast<size_t>(i * p.heads + h)];
        if (std::isfinite(l)) lse = std::max(lse, std::abs(l));
        for (int64_t j = 0; j < r.lk; ++j) {
          if (!r.sees(h, i, j)) continue;
          double sum = 0;
          const double* x = r.row(r.q, i, h, r.heads, r.d);
          const double* y = r.row(r.k, j, h / (r.heads / r.kv_heads), r.kv_heads, r.d);
          const bool distance = r.neg_squared_l2 || r.neg_squared_lorentz;
          for (int64_t c = 0; c < r.d; ++c)
            sum += distance ? (x[c] - y[c]) * (x[c] - y[c]) : std::abs(x[c] * y[c]);
          if (r.cosine) sum = 1;
          if (r.neg_squared_lorentz) sum += std::pow(r.time(x, r.d) - r.time(y, r.d), 2);
          products = std::max(products, sum);
          if (r.bias) bias = std::max(bias, std::abs(r.bias(h, i + r.lk - r.lq - j)));
          if (r.full_bias) full_bias = std::max(full_bias, std::abs(r.full_bias(h, i, j)));
        }
      }
    }
    for (int64_t h = 0; h < p.heads; ++h) scale = std::max(scale, std::abs(r.scale_of(h)));
    const double s = kEps * (6 * products * scale + r.softcap + bias + full_bias);
    const double w = 2 * s + 4 * kEps + kEps * lse + 3 * kEps * root(r.lk);
    compare(results.lse, a.q_offsets.begin(n), r.lse, s + kEps * (lse + 4), "lse", description);
    compare(results.out, a.q_offsets.begin(n), r.out, w * vm * r.keep_scale, "out", description);
    if (!backward) continue;
    const std::vector<double> dout = rows_of(a.dout_view, a.q_offsets, n);
    r.backward(dout);
    double total = 0, mass = 0;
    for (int64_t i = 0; i < r.lq * p.heads; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < p.dv; ++c) sum += std::abs(dout[static_cast<size_t>(i * p.dv + c)]);
      total = std::max(total, sum);
    }
    for (int64_t g = 0; g < p.kv_heads; ++g) {
      for (int64_t j = 0; j < r.lk; ++j) {
        double sum = 0;
        for (int64_t h = g * p.heads / p.kv_heads; h < (g + 1) * p.heads / p.kv_heads; ++h) {
          for (int64_t i = 0; i < r.lq; ++i) sum += r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
        }
        mass = std::max(mass, sum);
      }
    }
    const double ds = largest_gradient(r, dout) * w + 8 * kEps * total * vm * r.keep_scale;
    double qs = qm, ks = km;
    if (r.cosine) {  // the gradient of x/|x| is divided by |x|; rows are random, the shortest bounds it
      double shortest_q = 1e30, shortest_k = 1e30;
      for (int64_t i = 0; i < r.lq * p.heads; ++i)
        shortest_q = std::min(shortest_q, reference::Attention::norm(r.q.data() + i * p.d, p.d));
      for (int64_t i = 0; i < r.lk * p.kv_heads; ++i)
        shortest_k = std::min(shortest_k, reference::Attention::norm(r.k.data() + i * p.d, p.d));
      ks = 4 / shortest_q;
      qs = 4 / shortest_k;
    }
    if (r.neg_squared_l2) qs = ks = 2 * (qm + km);  // the derivative is 2(k − q)
    // 2(k − q) − 2(t(k) − t(q))·q/t(q), where |t(k) − t(q)| ≤ |k − q| and no column of q/t(q) is above 1.
    if (r.neg_squared_lorentz) qs = ks = 2 * (qm + km) * (1 + root(p.d));
    compare(results.dq, a.q_offsets.begin(n), r.dq, ds * scale * ks, "dq", description);
    compare(results.dk, a.k_offsets.begin(n), r.dk, ds * scale * qs * std::max(1.0, mass), "dk", description);
    compare(results.dv, a.k_offsets.begin(n), r.dv_out,
            w * largest(dout) * r.keep_scale * std::max(1.0, mass) * 2, "dv", description);
    sums.add(a, n, r);
    parameter_tolerance += ds * static_cast<double>(r.lq);
    scale_tolerance += ds * static_cast<double>(r.lq) * products;
    if (!p.bias.empty()) {
      const double more = ds * summed_rows(p, r.lq);
      bias_tolerance = p.bias[0] ? std::max(bias_tolerance, more) : bias_tolerance + more;
    }
  }
  if (!backward) return;
  int64_t farthest = 1;
  for (size_t n = 0; n < p.q_lengths.size(); ++n)
    farthest = std::max(farthest, p.q_lengths[n] + p.k_lengths[n]);
  if (p.alibi)
    compare(results.dslopes, 0, sums.dslopes, parameter_tolerance * static_cast<double>(farthest), "dslopes",
            description);
  if (p.relative) compare(results.dtable, 0, sums.dtable, parameter_tolerance, "dtable", description);
  if (p.scales) compare(results.dscales, 0, sums.dscales, scale_tolerance, "dscales", description);
  if (!p.bias.empty()) compare(results.dbias, 0, sums.dbias, bias_tolerance, "dbias", description);
  if (p.sinks) compare(results.dsinks, 0, sums.dsinks, parameter_tolerance, "dsinks", description);
}

void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  if (a.nbytes() == 0 || std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.nbytes())) == 0) return;
  if (a.dtype() != DType::kF32) {
    ADD_FAILURE() << what << " differs";
    return;
  }
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (std::memcmp(a.data() + i, b.data() + i, 4) != 0) {
      ADD_FAILURE() << what << "[" << i << "]: " << a.data()[i] << " and " << b.data()[i];
      return;
    }
  }
}

}  // namespace fovea::testing
