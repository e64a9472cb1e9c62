#include "attention/plain.hpp"

#include <cmath>
#include <limits>

#include "attention/kept.hpp"
#include "attention/score_rule.hpp"
#include "attention/sequence.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// In eight sums, which the compiler keeps in vectors: one alone would wait for each addition.
double dot(const float* a, const float* b, int64_t n) {
  constexpr int64_t kSums = 8;
  double sums[kSums] = {};
  int64_t c = 0;
  for (; c + kSums <= n; c += kSums) {
    for (int64_t l = 0; l < kSums; ++l)
      sums[l] += static_cast<double>(a[c + l]) * static_cast<double>(b[c + l]);
  }
  for (int64_t l = 0; c < n; ++c, ++l) sums[l] += static_cast<double>(a[c]) * static_cast<double>(b[c]);
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

double score(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h, int64_t i, int64_t j) {
  const HeadOverride what = r.override_of(h);
  if (what == HeadOverride::kUniform) return 0;
  if (what == HeadOverride::kFrozen) {
    const ScoresView<const float>& log_weights = in.override_heads.log_weights;
    return static_cast<double>(
        scores_of(log_weights, n, h)[i * log_weights.stride(2) + j * log_weights.stride(3)]);
  }
  const float* full = scores_of(in.bias, n, h);
  const float bias = full == nullptr ? 0.0f : full[i * in.bias.stride(2) + j * in.bias.stride(3)];
  // What a bias of −∞ hides is not read: a NaN of its score would spoil the row.
  if (static_cast<double>(bias) == -kInfinity) return -kInfinity;
  const int64_t scored = what == HeadOverride::kPermuted
                             ? in.override_heads.permutation[static_cast<size_t>(in.k_offsets.begin(n) + j)]
                             : j;
  const float* q = row_of(in.q, in.q_offsets, n, i, h);
  const float* k = row_of(in.k, in.k_offsets, n, scored, h / r.group);
  double s = (r.differences ? negative_distance<double>(q, k, r.d, r.timelike) : dot(q, k, r.d)) *
             static_cast<double>(r.scale_of(h));
  if (r.softcap > 0) s = static_cast<double>(r.softcap) * std::tanh(s / static_cast<double>(r.softcap));
  if (r.has_distance()) {
    const int64_t e = i + in.k_offsets.length(n) - in.q_offsets.length(n) - j;
    s += static_cast<double>(r.distance[static_cast<size_t>(h * r.distance_span + r.distance_zero + e)]);
  }
  return s + static_cast<double>(bias);
}

// Whether masks other than causality and windows let query i see key j.
bool allowed(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h, int64_t i, int64_t j) {
  if (r.override_of(h) == HeadOverride::kOff) return false;
  if (const uint8_t* mask = scores_of(in.mask, n, h)) {
    if (mask[i * in.mask.stride(2) + j * in.mask.stride(3)] == 0) return false;
  }
  const BlockMask* blocks = blocks_of(in, n, h);
  return blocks == nullptr || blocks->sees(i, j);
}

}  // namespace

void plain_weights(const AttentionInputs& in, const Resolved& r, int64_t n, int64_t h, int64_t i,
                   double* weights) {
  const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
  const int64_t lo = r.first_key(i, lq, lk), hi = r.end_key(i, lq, lk);
  std::fill(weights, weights + lk, 0.0);
  const HeadOverride what = r.override_of(h);
  const bool sink = r.sinks != nullptr && (what == HeadOverride::kNone || what == HeadOverride::kPermuted);
  double max = sink ? static_cast<double>(r.sinks[h]) : -kInfinity;
  for (int64_t j = lo; j < hi; ++j) {
    weights[j] = allowed(in, r, n, h, i, j) ? score(in, r, n, h, i, j) : -kInfinity;
    max = std::max(max, weights[j]);
  }
  double sum = sink ? std::exp(static_cast<double>(r.sinks[h]) - max) : 0.0;
  for (int64_t j = lo; j < hi; ++j) {
    weights[j] = weights[j] == -kInfinity ? 0.0 : std::exp(weights[j] - max);
    sum += weights[j];
  }
  for (int64_t j = lo; j < hi; ++j) {
    if (weights[j] != 0.0) weights[j] /= sum;
  }
}

void distance_scale_gradient(const AttentionInputs& in, const Resolved& r, HeadsView<const float> dout,
                             const float* dlse, float* dscales) {
  parallel_for(r.heads, 1, [&](int64_t begin, int64_t end) {
    Buffer<double> memory(static_cast<size_t>(2 * in.k_offsets.max_length()));
    double *weight = memory.data(), *dp = weight + in.k_offsets.max_length();
    for (int64_t h = begin; h < end; ++h) {
      if (r.override_of(h) != HeadOverride::kNone) continue;  // no score of its own
      double sum = 0;
      for_tokens(in.q_offsets, 0, in.q_offsets.total(), [&](int64_t n, int64_t i, int64_t t) {
        const int64_t lk = in.k_offsets.length(n);
        plain_weights(in, r, n, h, i, weight);
        double delta = dlse == nullptr ? 0.0 : -static_cast<double>(dlse[t * r.heads + h]);
        for (int64_t j = 0; j < lk; ++j) {
          if (weight[j] == 0) continue;
          const auto keep = static_cast<double>(dropout_factor(in, r, n, h, i, j));
          dp[j] = keep == 0 ? 0
                            : keep * dot(row_of(dout, in.q_offsets, n, i, h),
                                         row_of(in.v, in.k_offsets, n, j, h / r.group), r.dv);
          delta += weight[j] * dp[j];
        }
        for (int64_t j = 0; j < lk; ++j) {
          if (weight[j] == 0) continue;
          const double raw =
              negative_distance<double>(row_of(in.q, in.q_offsets, n, i, h),
                                        row_of(in.k, in.k_offsets, n, j, h / r.group), r.d, r.timelike);
          double slope = 1;
          if (r.softcap > 0) {
            const double bent =
                std::tanh(raw * static_cast<double>(r.scale_of(h)) / static_cast<double>(r.softcap));
            slope -= bent * bent;
          }
          sum += weight[j] * (dp[j] - delta) * slope * raw;
        }
      });
      dscales[h] += static_cast<float>(sum);
    }
  });
}

}  // namespace fovea
