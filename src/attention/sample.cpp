// Key mass from a sample of the queries.
#include <cmath>
#include <vector>

#include "attention/plain.hpp"
#include "attention/score.hpp"
#include "base/check.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {

SampledKeyMass sampled_key_mass(const AttentionInputs& given, const AttentionSpec& spec, int64_t samples,
                                RandomKey key, const float* shares) {
  const char* call = "sampled_key_mass";
  const Resolved r = resolve(call, given, spec);
  check_argument(samples >= 2, call, "expected at least 2 samples, got {}", samples);
  check_argument(spec.top_k == 0, call,
                 "expected no top_k, of whose few keys the exact key mass costs little, got {}", spec.top_k);
  const WithRows rows_of_score(given, spec.score);
  const AttentionInputs& in = rows_of_score.inputs;
  SampledKeyMass result{Tensor::zeros({in.k_offsets.total(), r.heads}),
                        Tensor::zeros({in.k_offsets.total(), r.heads})};
  // The queries of each sequence: the first places of a shuffle that depends on its number alone.
  std::vector<std::vector<int64_t>> chosen(static_cast<size_t>(r.sequences));
  for (int64_t n = 0; n < r.sequences; ++n) {
    const int64_t lq = in.q_offsets.length(n);
    std::vector<int64_t> order(static_cast<size_t>(lq));
    for (int64_t i = 0; i < lq; ++i) order[static_cast<size_t>(i)] = i;
    Random random(RandomKey{key.seed, key.stream + static_cast<uint64_t>(n)});
    const int64_t count = std::min(samples, lq);
    for (int64_t i = 0; i < count; ++i) {
      const auto other = i + static_cast<int64_t>(random.below(static_cast<uint64_t>(lq - i)));
      std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(other)]);
    }
    order.resize(static_cast<size_t>(count));
    chosen[static_cast<size_t>(n)] = std::move(order);
  }
  parallel_tasks(r.sequences * r.heads, true, [&](int64_t task) {
    const int64_t n = task / r.heads, h = task % r.heads;
    const int64_t lq = in.q_offsets.length(n), lk = in.k_offsets.length(n);
    const std::vector<int64_t>& queries = chosen[static_cast<size_t>(n)];
    if (queries.empty()) return;
    std::vector<double> weights(static_cast<size_t>(lk)), sum(weights), squares(weights);
    for (const int64_t i : queries) {
      const int64_t t = in.q_offsets.begin(n) + i;
      plain_weights(in, r, n, h, i, weights.data());
      const double share = shares == nullptr ? 1.0 : static_cast<double>(shares[t * r.heads + h]);
      for (size_t j = 0; j < weights.size(); ++j) {
        const double weight = share * weights[j];
        sum[j] += weight;
        squares[j] += weight * weight;
      }
    }
    const auto m = static_cast<double>(queries.size()), all = static_cast<double>(lq);
    for (int64_t j = 0; j < lk; ++j) {
      const double mean = sum[static_cast<size_t>(j)] / m;
      // Of a sample without replacement; a full one has no error.
      const double variance =
          m < 2 ? 0.0 : std::max(0.0, (squares[static_cast<size_t>(j)] - m * mean * mean) / (m - 1));
      const int64_t at = (in.k_offsets.begin(n) + j) * r.heads + h;
      result.mass.data()[at] = static_cast<float>(all * mean);
      result.standard_error.data()[at] = static_cast<float>(all * std::sqrt(variance / m * (1 - m / all)));
    }
  });
  return result;
}

}  // namespace fovea
