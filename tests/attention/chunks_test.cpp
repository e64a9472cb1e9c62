// Calls large enough to be cut: keys in several chunks, of which a query sees some or none, and batches whose
// tokens lie beyond the second-level cache, where what comes next is fetched ahead.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/each_isa.hpp"

namespace fovea::testing {
namespace {

class Chunks : public EachIsa {};

TEST_P(Chunks, WindowsThatSeeSomeChunks) {
  for (const auto& [lq, lk] : {std::pair<int64_t, int64_t>{1100, 1100}, {50, 1300}, {700, 90}, {130, 1600}}) {
    for (const auto& [left, right] : {std::pair<int64_t, int64_t>{40, 0}, {3, 700}, {-1, 5}, {600, -1}}) {
      Problem p;
      p.q_lengths = {lq};
      p.k_lengths = {lk};
      p.d = p.dv = 8;
      p.spec.window_left = left;
      p.spec.window_right = right;
      p.seed = static_cast<uint64_t>(lq + 7 * lk + left);
      check_on_threads(p);
    }
  }
}

TEST_P(Chunks, GroupedHeadsAndMasksOverSeveralChunks) {
  Problem p;
  p.q_lengths = {200, 0, 40};
  p.k_lengths = {1200, 30, 600};
  p.heads = 4;
  p.kv_heads = 2;
  p.spec.window_left = 100;
  p.spec.causal = true;
  check_on_threads(p);
  p.spec.window_left = -1;
  p.spec.softcap = 2.0f;
  p.magnitude = 4.0;  // scores beyond the cap, where tanh saturates
  check_on_threads(p);
  p.mask = {true, false, true, true};
  p.bias = {false, true, true, true};
  check_on_threads(p);
}

TEST_P(Chunks, ABatchThatLiesFarEqualsItsSequencesAlone) {
  Problem p;
  p.heads = 4;
  p.d = p.dv = 64;
  for (int64_t n = 0; n < 24; ++n) {
    p.q_lengths.push_back(n % 5 == 4 ? 0 : 20 + 7 * n);
    p.k_lengths.push_back(n % 7 == 6 ? 0 : 10 + 9 * n);
  }
  for (const bool causal : {false, true}) {
    p.spec.causal = causal;
    const Arrays arrays = make_arrays(p);
    const int64_t floats = 2 * p.d * p.heads * (arrays.q_offsets.total() + arrays.k_offsets.total());
    ASSERT_GT(floats, int64_t{1} << 20);
    const Results all = run_engine(arrays);
    expect_equal_to_reference(arrays, all);
    for (const int threads : {1, 2, 3, 8}) {
      set_num_threads(threads);
      expect_same_results(all, run_engine(arrays), "on " + std::to_string(threads));
    }
    for (const int64_t n : {3, 4, 6, 23}) {
      const int64_t q0 = arrays.q_offsets.begin(n), k0 = arrays.k_offsets.begin(n);
      const int64_t lq = arrays.q_offsets.length(n), lk = arrays.k_offsets.length(n);
      Arrays alone = arrays;
      const auto part = [](const HeadsView<const float>& x, int64_t begin, int64_t length) {
        HeadsView<const float> y = x;
        y.data += begin * x.stride(0);
        y.dims[0] = length;
        return y;
      };
      alone.inputs.q = part(arrays.inputs.q, q0, lq);
      alone.inputs.k = part(arrays.inputs.k, k0, lk);
      alone.inputs.v = part(arrays.inputs.v, k0, lk);
      alone.dout_view = part(arrays.dout_view, q0, lq);
      alone.q_offsets = alone.inputs.q_offsets = Offsets::single(lq);
      alone.k_offsets = alone.inputs.k_offsets = Offsets::single(lk);
      const Results results = run_engine(alone);
      const auto expect_rows = [&](const Tensor& whole, const Tensor& rows, int64_t begin, const char* what) {
        const int64_t width = whole.numel() / std::max<int64_t>(1, whole.dim(0));
        for (int64_t i = 0; i < rows.numel(); ++i) {
          ASSERT_EQ(whole.data()[begin * width + i], rows.data()[i])
              << what << " of sequence " << n << ", element " << i;
        }
      };
      expect_rows(all.out, results.out, q0, "out");
      expect_rows(all.dq, results.dq, q0, "dq");
      expect_rows(all.dk, results.dk, k0, "dk");
      expect_rows(all.dv, results.dv, k0, "dv");
    }
  }
}

// The mass of a key is the sum of its exact weights. Both come from the same scores up to their rounding:
// tolerance as of weights in problem.hpp, with A <= 8 and |lse| <= 16, on masses of at most Lq.
TEST_P(Chunks, KeyMassOverSeveralChunks) {
  Problem p;
  p.q_lengths = {300, 0, 20};
  p.k_lengths = {2100, 30, 1025};
  p.heads = 2;
  for (const int64_t left : {-1, 90}) {
    p.spec.window_left = left;
    const Arrays arrays = make_arrays(p);
    set_num_threads(1);
    const AttentionResult one = attention(arrays.inputs, p.spec, observe::key_mass);
    for (int64_t n = 0; n < 3; ++n) {
      const int64_t lq = arrays.q_offsets.length(n), lk = arrays.k_offsets.length(n);
      std::vector<int64_t> queries(static_cast<size_t>(lq));
      for (int64_t i = 0; i < lq; ++i) queries[static_cast<size_t>(i)] = arrays.q_offsets.begin(n) + i;
      const Ragged rows = attention_rows(arrays.inputs, p.spec, queries);
      const double tolerance = (2 * 6 * 8.0 + 4 + 16 + 3 * std::sqrt(2100.0)) * 1.2e-7;
      for (int64_t j = 0; j < lk; ++j) {
        for (int64_t h = 0; h < p.heads; ++h) {
          double mass = 0;
          for (int64_t i = 0; i < lq; ++i)
            mass += static_cast<double>(rows.tokens.data()[(rows.offsets.begin(i) + j) * p.heads + h]);
          const float got = one.seen.key_mass.data()[(arrays.k_offsets.begin(n) + j) * p.heads + h];
          ASSERT_NEAR(got, mass, tolerance * (mass + 1e-30))
              << "sequence " << n << " key " << j << " head " << h;
        }
      }
    }
    for (const int threads : {2, 3, 8}) {
      set_num_threads(threads);
      const AttentionResult again = attention(arrays.inputs, p.spec, observe::key_mass);
      expect_same_bits(one.seen.key_mass, again.seen.key_mass, "key mass on " + std::to_string(threads));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Attention, Chunks, ::testing::ValuesIn(available_isas()),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

}  // namespace
}  // namespace fovea::testing
