#include "attention/plain.hpp"

#include <cmath>
#include <limits>

namespace fovea {
namespace {

double score(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h, int64_t i, int64_t j) {
  const float* q = in.q.data + (in.q_offsets.begin(n) + i) * in.q.stride(0) + h * in.q.stride(1);
  const float* k = in.k.data + (in.k_offsets.begin(n) + j) * in.k.stride(0) + h / r.group * in.k.stride(1);
  double s = 0;
  for (int64_t c = 0; c < r.d; ++c) s += static_cast<double>(q[c]) * static_cast<double>(k[c]);
  s *= static_cast<double>(r.scale);
  if (r.softcap > 0) s = static_cast<double>(r.softcap) * std::tanh(s / static_cast<double>(r.softcap));
  if (r.has_distance()) {
    const int64_t e = i + in.k_offsets.length(n) - in.q_offsets.length(n) - j;
    s += static_cast<double>(r.distance[static_cast<size_t>(h * r.distance_span + r.distance_zero + e)]);
  }
  return s;
}

}  // namespace

double plain_weights(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h, int64_t i,
                     const float* lse, double* weights) {
  const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
  const int64_t lo = r.first_key(i, lq, lk), hi = r.end_key(i, lq, lk);
  std::fill(weights, weights + lk, 0.0);
  double max = in.sinks.empty() ? -std::numeric_limits<double>::infinity()
                                : static_cast<double>(in.sinks[static_cast<size_t>(h)]);
  for (int64_t j = lo; j < hi; ++j) {
    weights[j] = score(in, r, n, h, i, j);
    max = std::max(max, weights[j]);
  }
  double log_sum = -std::numeric_limits<double>::infinity();
  if (lse != nullptr) {
    log_sum = static_cast<double>(*lse);
  } else if (max > -std::numeric_limits<double>::infinity()) {
    double sum =
        in.sinks.empty() ? 0.0 : std::exp(static_cast<double>(in.sinks[static_cast<size_t>(h)]) - max);
    for (int64_t j = lo; j < hi; ++j) sum += std::exp(weights[j] - max);
    log_sum = max + std::log(sum);
  }
  for (int64_t j = lo; j < hi; ++j) weights[j] = std::exp(weights[j] - log_sum);
  return log_sum;
}

}  // namespace fovea
