// Output and insights of rows that keep their k strongest keys.
#include <cmath>
#include <limits>

#include "attention/kept.hpp"
#include "attention/schedule.hpp"
#include "attention/sequence.hpp"
#include "kernels/attention_units.hpp"

namespace fovea {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

void write_out(const AttentionInputs& in, const Resolved& r, const KeptRow& row, float* out) {
  std::fill_n(out, r.dv, row.spoilt ? kNaN : 0.0f);
  for (int64_t s = 0; s < row.count; ++s) {
    const KeptKey& kept = row.kept[s];
    const float keep = dropout_factor(in, r, row.n, row.h, row.i, kept.key);
    if (keep == 0.0f) continue;
    kept_add(out, kept.weight * keep, row_of(in.v, in.k_offsets, row.n, kept.key, row.h / r.group), r.dv);
  }
}

// −Σ p·log p, the sink as one outcome.
float entropy_of(const Resolved& r, const KeptRow& row) {
  float sum = 0;
  const auto add = [&](float logit) {
    const float surprise = (row.max - logit) + row.log_sum;
    if (surprise < std::numeric_limits<float>::infinity()) sum += std::exp(-surprise) * surprise;
  };
  for (int64_t s = 0; s < row.count; ++s) add(row.kept[s].logit);
  if (r.sinks != nullptr) add(r.sinks[row.h]);
  return std::max(0.0f, sum);
}

// Statistics of the row, which is row `at` of [T, H].
void observe_row(const Resolved& r, const KeptRow& row, int64_t at, const Observers& wanted, Insight& seen) {
  if (wanted.entropy) seen.entropy.data()[at] = entropy_of(r, row);
  if (wanted.max) {
    seen.max_weight.data()[at] = row.count == 0 ? 0.0f : row.kept[0].weight;
    seen.max_key.data<int64_t>()[at] = row.count == 0 ? -1 : row.kept[0].key;
  }
  if (wanted.top_k == 0) return;
  const int64_t places = seen.top_k_keys.dim(2);
  int64_t* keys = seen.top_k_keys.data<int64_t>() + at * places;
  float* weights = seen.top_k_weights.data() + at * places;
  for (int64_t s = 0; s < places; ++s) {
    keys[s] = s < row.count ? row.kept[s].key : -1;
    weights[s] = s < row.count ? row.kept[s].weight : 0.0f;
  }
}

// Sums over the weights; `to` points at the row, `position` is i'.
void sum_row(const KeptRow& row, int64_t position, const kernels::AttentionWeightSums& to) {
  float total = 0, distance = 0, first = 0, near = 0;
  double squares = 0;  // of weights whose squares may be too small for a float, beside a strong sink
  if (to.set_mass != nullptr) std::fill_n(to.set_mass, to.set_count, 0.0f);
  for (int64_t s = 0; s < row.count; ++s) {
    const int64_t j = row.kept[s].key;
    const float weight = row.kept[s].weight;
    total += weight;
    squares += static_cast<double>(weight) * static_cast<double>(weight);
    distance += weight * static_cast<float>(std::abs(position - j));
    if (j == 0) first = weight;
    if (position - j <= to.near_left && j - position <= to.near_right) near += weight;
    if (to.set_mass != nullptr && to.sets[j] >= 0) to.set_mass[to.sets[j]] += weight;
  }
  if (to.effective != nullptr) {
    const auto sum = static_cast<double>(total);
    *to.effective = total == 0 ? 0.0f : static_cast<float>(sum * sum / squares);
  }
  if (to.distance != nullptr) *to.distance = distance;
  if (to.first != nullptr) *to.first = first;
  if (to.near != nullptr) *to.near = near;
}

// Sums over queries: one task a sequence and head, rows in order.
void add_masses(const AttentionInputs& in, const Resolved& r, const KeptLists& lists,
                const Buffer<float>& weights, const Observers& wanted, Insight& seen) {
  parallel_tasks(r.sequences * r.heads, true, [&](int64_t task) {
    const int64_t n = task / r.heads, h = task % r.heads;
    const int64_t q0 = in.q_offsets.begin(n), k0 = in.k_offsets.begin(n);
    const int64_t columns = (in.k_offsets.length(n) + 63) / 64;
    for (int64_t i = 0; i < in.q_offsets.length(n); ++i) {
      const size_t at = lists.at(q0 + i, h);
      for (size_t s = at; s < at + static_cast<size_t>(lists.k) && lists.keys[s] >= 0; ++s) {
        const int64_t j = lists.keys[s];
        if (wanted.key_mass) seen.key_mass.data()[(k0 + j) * r.heads + h] += weights[s];
        if (wanted.block_mass) {
          const int64_t tile = seen.block_offsets.begin(n) + i / 64 * columns + j / 64;
          seen.block_mass.data()[tile * r.heads + h] += weights[s];
        }
      }
    }
  });
}

}  // namespace

void kept_forward(const AttentionInputs& in, const Resolved& r, HeadsView<float> out,
                  const SoftmaxOutput& softmax, const Observers& observers, Insight* seen) {
  const bool masses = observers.key_mass || observers.block_mass;
  KeptLists lists;
  Buffer<float> weights;
  if (masses) {
    lists = KeptLists(in, r);
    weights = Buffer<float>(lists.keys.size());
  }
  for_kept_rows(
      in, r, [](const RowChunk&) { return true; },
      [&](const KeptRow& row) {
        const int64_t t = in.q_offsets.begin(row.n) + row.i, at = t * r.heads + row.h;
        write_out(in, r, row, row_of(out, in.q_offsets, row.n, row.i, row.h));
        if (softmax.lse != nullptr) softmax.lse[at] = row.spoilt ? kNaN : row.max + row.log_sum;
        if (softmax.rows != nullptr) {
          softmax.rows[at] = {row.spoilt ? kNaN : kernels::in_log2_units(row.max),
                              row.log_sum * kernels::kLog2E};
        }
        if (seen == nullptr) return;
        observe_row(r, row, at, observers, *seen);
        if (observers.weights()) {
          kernels::AttentionWeightSums to = sums_of(in, observers, *seen, row.n, row.h);
          const int64_t skip = row.i * r.heads;
          for (float** x : {&to.effective, &to.distance, &to.first, &to.near})
            if (*x != nullptr) *x += skip;
          if (to.set_mass != nullptr) to.set_mass += skip * to.set_count;
          sum_row(row, row.i + in.k_offsets.length(row.n) - in.q_offsets.length(row.n), to);
        }
        if (!masses) return;
        lists.set(in, row);
        float* to = weights.data() + lists.at(t, row.h);
        for (int64_t s = 0; s < row.count; ++s) to[s] = row.kept[s].weight;
      });
  if (masses) add_masses(in, r, lists, weights, observers, *seen);
}

}  // namespace fovea
