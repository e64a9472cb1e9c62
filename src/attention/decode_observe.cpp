#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/decode_call.hpp"
#include "attention/sink.hpp"
#include "kernels/attention_decode.hpp"
#include "kernels/strongest.hpp"

namespace fovea {
namespace {

// The keys of a row by its scores, before these become weights: what rounds to a weight of 0 is seen all the
// same, and no two weights that rounding made equal change places. Ties go to the lower key; hidden keys and
// NaN are in no list. Returns how many of the k there are.
int64_t strongest_keys(const float* scores, int64_t keys, int64_t k, Buffer<uint64_t>& strengths) {
  if (strengths.size() == 0) strengths = Buffer<uint64_t>(static_cast<size_t>(keys));
  uint64_t *first = strengths.data(), *end = first;
  for (int64_t j = 0; j < keys; ++j) {
    if (scores[j] > kernels::kLeastMaximum) *end++ = kernels::strength_of(scores[j], static_cast<int32_t>(j));
  }
  const int64_t count = std::min<int64_t>(k, end - first);
  if (end - first > k) std::nth_element(first, first + k, end);
  std::sort(first, first + count);
  return count;
}

// Writes the first k of the keys found, and what they weigh.
void write_top(const Buffer<uint64_t>& strengths, int64_t count, const float* weights, int64_t k,
               int64_t* index, float* weight) {
  for (int64_t s = 0; s < k; ++s) {
    index[s] = s < count ? kernels::strength_key(strengths[static_cast<size_t>(s)]) : -1;
    weight[s] = s < count ? weights[index[s]] : 0.0f;
  }
}

// Sums over a row of weights, as AttentionWeightSums names them; `stride` is that of rows.
void sum_weights(const kernels::AttentionWeightSums& to, const float* weights, int64_t i, int64_t lq,
                 int64_t lk, int64_t stride) {
  double total = 0, squares = 0, distance = 0, near = 0;
  const int64_t at = i * stride, position = i + lk - lq;
  if (to.set_mass != nullptr) std::fill_n(to.set_mass + at * to.set_count, to.set_count, 0.0f);
  for (int64_t j = 0; j < lk; ++j) {
    const auto weight = static_cast<double>(weights[j]);
    total += weight;
    squares += weight * weight;
    distance += weight * static_cast<double>(std::abs(position - j));
    if (position - j <= to.near_left && j - position <= to.near_right) near += weight;
    if (to.set_mass != nullptr && to.sets[j] >= 0) to.set_mass[at * to.set_count + to.sets[j]] += weights[j];
    if (to.blocks != nullptr) to.blocks[(i / 64 * ((lk + 63) / 64) + j / 64) * stride] += weights[j];
  }
  if (to.effective != nullptr)
    to.effective[at] = total == 0 ? 0.0f : static_cast<float>(total * total / squares);
  if (to.distance != nullptr) to.distance[at] = static_cast<float>(distance);
  if (to.first != nullptr) to.first[at] = lk == 0 ? 0.0f : weights[0];
  if (to.near != nullptr) to.near[at] = static_cast<float>(near);
}

}  // namespace

void observe_decoded(DecodeCall& call, int64_t n, int64_t head, const SoftmaxRow* rows,
                     const Observers& wanted, Insight& seen) {
  const int64_t lq = call.shapes.q_offsets.length(n), lk = call.key_count(n);
  const int64_t q0 = call.shapes.q_offsets.begin(n), k0 = call.shapes.k_offsets.begin(n),
                heads = call.r.heads;
  const int64_t places = wanted.top_k > 0 ? seen.top_k_keys.dim(2) : 0;
  Buffer<uint64_t> strengths;
  for (int64_t i = 0; i < lq; ++i) {
    const int64_t at = (q0 + i) * heads + head;
    float* weights = call.scores_of(n, head) + i * lk;
    if (rows[i].empty()) std::fill_n(weights, lk, -std::numeric_limits<float>::infinity());
    const int64_t listed = std::max(places, wanted.max ? int64_t{1} : 0);
    const int64_t found = listed == 0 ? 0 : strongest_keys(weights, lk, listed, strengths);
    float entropy =
        kernels::decode_kernels().weigh({weights, lk, rows[i].empty() ? SoftmaxRow{0, 0} : rows[i]});
    if (call.r.sinks != nullptr) {
      const double sink = sink_weight(call.r.sinks[head], rows[i]);
      if (sink > 0) entropy -= static_cast<float>(sink * std::log(sink));
    }
    if (wanted.entropy) seen.entropy.data()[at] = std::max(0.0f, entropy);
    if (wanted.max) {
      write_top(strengths, found, weights, 1, seen.max_key.data<int64_t>() + at, seen.max_weight.data() + at);
    }
    if (places > 0) {
      write_top(strengths, found, weights, places, seen.top_k_keys.data<int64_t>() + at * places,
                seen.top_k_weights.data() + at * places);
    }
    for (int64_t j = 0; wanted.key_mass && j < lk; ++j)
      seen.key_mass.data()[(k0 + j) * heads + head] += weights[j];
    if (wanted.weights()) sum_weights(sums_of(call.shapes, wanted, seen, n, head), weights, i, lq, lk, heads);
  }
}

}  // namespace fovea
