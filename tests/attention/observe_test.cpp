// What observers tell, against the weights by the definition; and that they change nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "fovea/base/cpu.hpp"
#include "fovea/base/error.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

constexpr int64_t kTop = 5;

Problem problem_of(int variant) {
  Problem p;
  p.q_lengths = {70, 1, 0, 130};
  p.k_lengths = {70, 3, 4, 90};
  p.heads = 4;
  p.kv_heads = 2;
  p.d = 16;
  p.dv = 8;
  p.seed = static_cast<uint64_t>(40 + variant);
  p.magnitude = 2.0;
  p.spec.causal = variant % 2 == 1;
  if (variant >= 2) p.spec.window_left = 20;
  p.sinks = variant >= 3;
  p.alibi = variant >= 4;
  if (variant >= 4) p.spec.softcap = 3.0f;
  if (variant >= 5) p.spec.dropout = 0.3f;  // statistics are of the weights before it
  if (variant >= 6) {
    p.mask = {true, false, true, true};
    p.blocks = Problem::Blocks::kPerHead;
    p.bias = {false, true, false, true};
  }
  return p;
}

constexpr int kVariants = 7;
constexpr int64_t kSets = 3, kNearLeft = 5, kNearRight = 2;

// The set of a key of the packed batch.
int32_t set_of(int64_t key) {
  return static_cast<int32_t>(key * 7 % (kSets + 1)) - 1;
}

std::vector<int32_t> sets_of(const Arrays& a) {
  std::vector<int32_t> sets;
  for (int64_t j = 0; j < a.k_offsets.total(); ++j) sets.push_back(set_of(j));
  return sets;
}

Observers sums(const std::vector<int32_t>& sets) {
  return observe::effective_keys | observe::distance | observe::first_key | observe::block_mass |
         observe::near(kNearLeft, kNearRight) | observe::key_sets(sets, kSets);
}

// Sums over one row of weights, by the definition. Weights are exact to 3e-5, as below.
void check_sums(const reference::Attention& r, const Insight& seen, int64_t at, int64_t h, int64_t i,
                int64_t first_key, const std::string& what) {
  const double* w = r.weights.data() + (h * r.lq + i) * r.lk;
  double total = 0, squares = 0, distance = 0, near = 0, sets[kSets] = {};
  for (int64_t j = 0; j < r.lk; ++j) {
    const int64_t e = i + r.lk - r.lq - j;
    total += w[j];
    squares += w[j] * w[j];
    distance += w[j] * static_cast<double>(std::abs(e));
    if (e <= kNearLeft && e >= -kNearRight) near += w[j];
    if (set_of(first_key + j) >= 0) sets[set_of(first_key + j)] += w[j];
  }
  EXPECT_NEAR(seen.effective_keys.data()[at], total == 0 ? 0 : total * total / squares,
              3e-5 * (1 + static_cast<double>(r.lk)))
      << what;
  EXPECT_NEAR(seen.expected_distance.data()[at], distance, 3e-5 * static_cast<double>(r.lk + r.lq)) << what;
  EXPECT_NEAR(seen.first_key_mass.data()[at], r.lk == 0 ? 0 : w[0], 3e-5) << what;
  EXPECT_NEAR(seen.near_mass.data()[at], near, 3e-5) << what;
  for (int64_t n = 0; n < kSets; ++n)
    EXPECT_NEAR(seen.set_mass.data()[at * kSets + n], sets[n], 3e-5) << what;
}

void check_blocks(const reference::Attention& r, const Insight& seen, int64_t n, const std::string& what) {
  const int64_t columns = (r.lk + 63) / 64, rows = (r.lq + 63) / 64;
  ASSERT_EQ(seen.block_offsets.length(n), rows * columns);
  for (int64_t h = 0; h < r.heads; ++h) {
    std::vector<double> map(static_cast<size_t>(rows * columns));
    for (int64_t i = 0; i < r.lq; ++i) {
      for (int64_t j = 0; j < r.lk; ++j)
        map[static_cast<size_t>(i / 64 * columns + j / 64)] +=
            r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
    }
    for (int64_t b = 0; b < rows * columns; ++b) {
      EXPECT_NEAR(seen.block_mass.data()[(seen.block_offsets.begin(n) + b) * r.heads + h],
                  map[static_cast<size_t>(b)], 1e-5 * (1 + map[static_cast<size_t>(b)]))
          << what << " block " << b;
    }
  }
}

// Statistics of one row of weights, by the definition.
void check_row(const reference::Attention& r, const Insight& seen, int64_t at, int64_t h, int64_t i,
               const std::string& what) {
  const double* w = r.weights.data() + (h * r.lq + i) * r.lk;
  const double lse = r.lse[static_cast<size_t>(i * r.heads + h)];
  double entropy = 0;
  const auto add = [&](double p) { entropy -= p > 0 ? p * std::log(p) : 0; };
  std::vector<int64_t> order;
  for (int64_t j = 0; j < r.lk; ++j) {
    add(w[j]);
    if (r.sees(h, i, j)) order.push_back(j);
  }
  if (!r.sinks.empty() && std::isfinite(lse)) add(std::exp(r.sinks[static_cast<size_t>(h)] - lse));
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return w[a] > w[b]; });
  // Weights differ by a factor of at most e^(2s), s the error of a score (below 1e-5 at these sizes);
  // entropies by that times log of the number of keys.
  EXPECT_NEAR(seen.entropy.data()[at], entropy, 2e-4) << what;
  EXPECT_NEAR(seen.max_weight.data()[at], order.empty() ? 0 : w[order[0]], 3e-5) << what;
  EXPECT_EQ(seen.max_key.data<int64_t>()[at], order.empty() ? -1 : order[0]) << what;
  for (int64_t n = 0; n < kTop; ++n) {
    const bool exists = n < static_cast<int64_t>(order.size());
    const double weight = exists ? w[order[static_cast<size_t>(n)]] : 0;
    EXPECT_NEAR(seen.top_k_weights.data()[at * kTop + n], weight, 3e-5) << what << " rank " << n;
    const int64_t key = seen.top_k_keys.data<int64_t>()[at * kTop + n];
    if (!exists) {
      EXPECT_EQ(key, -1) << what << " rank " << n;
    } else {
      ASSERT_GE(key, 0) << what << " rank " << n;
      EXPECT_NEAR(w[key], weight, 3e-5) << what << " rank " << n;
    }
  }
}

TEST(Observers, TellWhatTheWeightsAre) {
  const Observers all = observe::entropy | observe::max | observe::top_k(kTop) | observe::key_mass;
  for (const Isa isa : available_isas()) {
    const Isa before = current_isa();
    set_isa(isa);
    for (int variant = 0; variant < kVariants; ++variant) {
      const Arrays a = make_arrays(problem_of(variant));
      const std::vector<int32_t> sets = sets_of(a);
      const Insight seen = attention(a.inputs, a.problem.spec, all | sums(sets)).seen;
      for (int64_t n = 0; n < a.q_offsets.count(); ++n) {
        reference::Attention r = make_reference(a, n);
        r.forward();
        check_blocks(r, seen, n, a.problem.describe());
        for (int64_t h = 0; h < r.heads; ++h) {
          for (int64_t i = 0; i < r.lq; ++i) {
            check_sums(r, seen, (a.q_offsets.begin(n) + i) * r.heads + h, h, i, a.k_offsets.begin(n),
                       a.problem.describe() + " row " + std::to_string(i));
            check_row(r, seen, (a.q_offsets.begin(n) + i) * r.heads + h, h, i,
                      a.problem.describe() + " row " + std::to_string(i));
          }
          for (int64_t j = 0; j < r.lk; ++j) {
            double mass = 0;
            for (int64_t i = 0; i < r.lq; ++i)
              mass += r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
            EXPECT_NEAR(seen.key_mass.data()[(a.k_offsets.begin(n) + j) * r.heads + h], mass,
                        1e-5 * (1 + mass));
          }
        }
      }
    }
    set_isa(before);
  }
}

TEST(Observers, NeverChangeABit) {
  for (const Isa isa : available_isas()) {
    const Isa before = current_isa();
    set_isa(isa);
    for (int variant = 0; variant < kVariants; ++variant) {
      const Arrays a = make_arrays(problem_of(variant));
      const std::vector<int32_t> sets = sets_of(a);
      const AttentionResult plain = attention(a.inputs, a.problem.spec);
      for (const Observers& o :
           {observe::entropy, observe::max, observe::top_k(8), observe::key_mass, observe::effective_keys,
            observe::near(3, 0), observe::block_mass, sums(sets),
            observe::entropy | observe::max | observe::top_k(64) | observe::key_mass}) {
        const AttentionResult watched = attention(a.inputs, a.problem.spec, o);
        expect_same_bits(plain.out, watched.out, "out");
        expect_same_bits(plain.lse, watched.lse, "lse");
      }
    }
    set_isa(before);
  }
}

TEST(Observers, TiesGoToTheLowerKey) {
  const Tensor q = Tensor::zeros({3, 1, 4});
  const Tensor k = Tensor::zeros({9, 1, 4});
  const AttentionResult r = attention(q, k, k, {}, observe::max | observe::top_k(3));
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(r.seen.max_key.data<int64_t>()[i], 0);
    for (int64_t n = 0; n < 3; ++n) EXPECT_EQ(r.seen.top_k_keys.data<int64_t>()[i * 3 + n], n);
    EXPECT_NEAR(r.seen.max_weight.data()[i], 1.0f / 9.0f, 1e-6f);
  }
}

TEST(Observers, OnlyWhatWasAskedForIsDefined) {
  const Tensor x = Tensor::zeros({3, 1, 4});
  const Insight seen = attention(x, x, x, {}, observe::entropy).seen;
  EXPECT_TRUE(seen.entropy.defined());
  EXPECT_TRUE(seen.lse.defined());
  EXPECT_FALSE(seen.max_weight.defined() || seen.top_k_keys.defined() || seen.key_mass.defined());
}

TEST(Observers, NamesWhatIsWrong) {
  const Tensor x = Tensor::zeros({3, 1, 4});
  EXPECT_ERROR(attention(x, x, x, {}, observe::near(3, -1)), ArgumentError,
               "[attention_forward] expected near_left and near_right both >= 0, got 3 and -1");
  const std::vector<int32_t> sets{0, 2, 1};
  EXPECT_ERROR(attention(x, x, x, {}, observe::key_sets({sets.data(), 2}, 3)), ArgumentError,
               "[attention_forward] expected the set of each of the 3 keys, got 2");
  EXPECT_ERROR(attention(x, x, x, {}, observe::key_sets(sets, 2)), ArgumentError,
               "[attention_forward] expected key sets in [-1, 2), got 2");
}

TEST(Rows, AreTheWeightsAndSumToOne) {
  const Arrays a = make_arrays(problem_of(1));
  const AttentionResult result = attention(a.inputs, a.problem.spec);
  const std::vector<int64_t> queries{0, 69, 70, 200, 71};
  const Ragged rows = attention_rows(a.inputs, a.problem.spec, queries);
  ASSERT_EQ(rows.offsets.count(), 5);
  for (size_t m = 0; m < queries.size(); ++m) {
    const int64_t n = queries[m] < 70 ? 0 : queries[m] < 71 ? 1 : 3;
    reference::Attention r = make_reference(a, n);
    r.forward();
    const int64_t i = queries[m] - a.q_offsets.begin(n);
    ASSERT_EQ(rows.offsets.length(static_cast<int64_t>(m)), r.lk);
    for (int64_t h = 0; h < r.heads; ++h) {
      double sum = 0;
      for (int64_t j = 0; j < r.lk; ++j) {
        const float w = rows.tokens.data()[(rows.offsets.begin(static_cast<int64_t>(m)) + j) * r.heads + h];
        EXPECT_NEAR(w, r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)], 1e-5);
        sum += static_cast<double>(w);
      }
      const bool empty = std::isinf(r.lse[static_cast<size_t>(i * r.heads + h)]);
      EXPECT_NEAR(sum, empty ? 0.0 : 1.0, 1e-5) << queries[m];
    }
  }
}

}  // namespace
}  // namespace fovea::testing
