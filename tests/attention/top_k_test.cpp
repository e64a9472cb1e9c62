// Queries that keep their k strongest keys: which ones, and forward, backward and insights of these.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <set>

#include "fovea/attention/double.hpp"
#include "fovea/attention/half.hpp"
#include "fovea/attention/plan.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/expect_error.hpp"
#include "tests/support/use_isa.hpp"

namespace fovea::testing {
namespace {

constexpr double kEps = 0x1p-23;

HeadsView<float> heads_of(Tensor& x) {
  return contiguous_view<float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}

Insight see(const Arrays& a, const Observers& observers) {
  Tensor out = Tensor::empty({a.q_offsets.total(), a.problem.heads, a.problem.dv});
  Tensor lse = Tensor::empty({a.q_offsets.total(), a.problem.heads});
  Insight seen;
  attention_forward(a.inputs, a.problem.spec, heads_of(out), lse.data(), observers, &seen);
  seen.lse = lse;
  return seen;
}

// Lets the reference keep what the engine keeps.
void follow_engine(Arrays& a) {
  const int64_t heads = a.problem.heads;
  const Insight seen = see(a, observe::top_k(a.problem.spec.top_k));
  a.keeps = [keys = seen.top_k_keys, places = seen.top_k_keys.dim(2), heads, offsets = a.q_offsets](
                int64_t n, int64_t h, int64_t i, int64_t j) {
    const int64_t* row = keys.data<int64_t>() + ((offsets.begin(n) + i) * heads + h) * places;
    return std::find(row, row + places, j) != row + places;
  };
}

// How far apart the engine and the reference may see a score (problem.hpp).
double score_error(const reference::Attention& r) {
  double products = 0, biases = 0;
  for (int64_t h = 0; h < r.heads; ++h) {
    for (int64_t i = 0; i < r.lq; ++i) {
      for (int64_t j = 0; j < r.lk; ++j) {
        if (!r.sees(h, i, j)) continue;
        double sum = 0;
        const double* x = r.row(r.q, i, h, r.heads, r.d);
        const double* y = r.row(r.k, j, h / (r.heads / r.kv_heads), r.kv_heads, r.d);
        const bool distance = r.neg_squared_l2 || r.neg_squared_lorentz;
        for (int64_t c = 0; c < r.d; ++c)
          sum += distance ? (x[c] - y[c]) * (x[c] - y[c]) : std::abs(x[c] * y[c]);
        if (r.neg_squared_lorentz) sum += std::pow(r.time(x, r.d) - r.time(y, r.d), 2);
        products = std::max(products, (r.cosine ? 1 : sum) * std::abs(r.scale_of(h)));
        double bias = r.softcap;
        if (r.bias) bias += std::abs(r.bias(h, i + r.lk - r.lq - j));
        if (r.full_bias) bias += std::abs(r.full_bias(h, i, j));
        biases = std::max(biases, bias);
      }
    }
  }
  return kEps * (6 * products + biases);
}

// The engine keeps min(k, seen keys) keys of each row, all of them seen, none stronger left out.
void expect_strongest_kept(const Arrays& a) {
  for (int64_t n = 0; n < a.q_offsets.count(); ++n) {
    Arrays plain = a;
    plain.keeps = nullptr;
    reference::Attention r = make_reference(plain, n);
    r.forward();
    const double error = score_error(r);
    for (int64_t h = 0; h < r.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        double weakest_kept = INFINITY, strongest_left = 0;
        int64_t kept = 0, visible = 0;
        for (int64_t j = 0; j < r.lk; ++j) {
          const double weight = r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
          if (!r.sees(h, i, j)) {
            EXPECT_FALSE(a.keeps(n, h, i, j)) << i << " " << j << " in " << a.problem.describe();
            continue;
          }
          ++visible;
          if (a.keeps(n, h, i, j)) {
            ++kept;
            weakest_kept = std::min(weakest_kept, weight);
          } else {
            strongest_left = std::max(strongest_left, weight);
          }
        }
        ASSERT_EQ(kept, std::min(visible, a.problem.spec.top_k)) << i << " in " << a.problem.describe();
        ASSERT_LE(strongest_left, weakest_kept * std::exp(2 * error)) << i << " in " << a.problem.describe();
      }
    }
  }
}

Problem problem_of(int number) {
  Problem p = random_problem(number);
  constexpr int64_t kKept[] = {1, 65, 2, 3, 100, 7, 8, 1'000'000, 9, 16, 128, 33, 64};
  p.spec.top_k = kKept[number % 13];
  return p;
}

TEST(TopK, RandomCombinationsEqualTheReference) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    const int cases = isa == Isa::kBaseline ? 45 : 126;
    for (int i = 0; i < cases; ++i) {
      Arrays a = make_arrays(problem_of(i));
      follow_engine(a);
      expect_strongest_kept(a);
      expect_equal_to_reference(a, run_engine(a));
    }
  }
}

TEST(TopK, EqualScoresGoToTheLowerKeys) {
  Problem p;
  p.q_lengths = {5};
  p.k_lengths = {150};
  p.spec.top_k = 3;
  p.spec.scale = 0.0f;  // all scores are equal
  const Arrays a = make_arrays(p);
  const Insight seen = see(a, observe::top_k(4));
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t s = 0; s < 4; ++s) {
      EXPECT_EQ(seen.top_k_keys.data<int64_t>()[i * 4 + s], s < 3 ? s : -1);
      EXPECT_NEAR(seen.top_k_weights.data()[i * 4 + s], s < 3 ? 1.0f / 3 : 0.0f, 1e-7f);
    }
    EXPECT_NEAR(seen.lse.data()[i], std::log(3.0f), 3e-7f);
  }
}

TEST(TopK, MoreThanAllKeysIsPlainAttention) {
  Problem p;
  p.q_lengths = {70, 9};
  p.k_lengths = {60, 30};
  p.heads = 4;
  p.kv_heads = 2;
  p.spec.causal = true;
  p.alibi = p.sinks = true;
  Arrays a = make_arrays(p);
  a.problem.spec.top_k = 64;
  expect_equal_to_reference(a, run_engine(a));  // the reference keeps all
}

TEST(TopK, ManyKeptKeysEqualTheReference) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const int64_t k : {63, 64, 65, 127, 128, 129, 259, 260, 261, 1'000'000}) {
      for (const bool causal : {false, true}) {
        Problem p;
        p.q_lengths = {70, 3, 30};
        p.k_lengths = {260, 90, 30};
        p.heads = 4;
        p.kv_heads = 2;
        p.spec.causal = causal;
        p.spec.top_k = k;
        p.sinks = p.alibi = causal;
        p.bias = {false, true, true, true};
        p.hiding_bias = p.lse_gradient = !causal;
        Arrays a = make_arrays(p);
        follow_engine(a);
        expect_strongest_kept(a);
        expect_equal_to_reference(a, run_engine(a));
      }
    }
  }
}

TEST(TopK, InsightsAreOfTheKeptKeys) {
  Problem p;
  p.q_lengths = {70, 130};
  p.k_lengths = {100, 130};
  p.heads = 4;
  p.kv_heads = 2;
  p.d = p.dv = 16;
  p.spec.causal = true;
  p.spec.top_k = 9;
  p.sinks = true;
  Arrays a = make_arrays(p);
  follow_engine(a);
  std::vector<int32_t> sets;
  for (int64_t j = 0; j < 230; ++j) sets.push_back(static_cast<int32_t>(j % 4) - 1);
  Observers all = observe::entropy | observe::max | observe::key_mass | observe::top_k(5) |
                  observe::effective_keys | observe::distance | observe::first_key | observe::block_mass |
                  observe::near(6, 2) | observe::key_sets(sets, 3);
  const Insight seen = see(a, all);
  // Weights are off by w = 2s + … < 1e-5 here; sums over 130 keys or queries by as many.
  for (int64_t n = 0; n < 2; ++n) {
    reference::Attention r = make_reference(a, n);
    r.forward();
    const int64_t q0 = a.q_offsets.begin(n), k0 = a.k_offsets.begin(n), tiles = (r.lk + 63) / 64;
    std::vector<double> blocks(static_cast<size_t>((r.lq + 63) / 64 * tiles * 4)),
        mass(static_cast<size_t>(r.lk * 4));
    for (int64_t h = 0; h < 4; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        const double* w = r.weights.data() + (h * r.lq + i) * r.lk;
        const int64_t at = (q0 + i) * 4 + h, place = i + r.lk - r.lq;
        double entropy = 0, total = 0, squares = 0, distance = 0, near = 0, most = 0, set[3] = {};
        for (int64_t j = 0; j < r.lk; ++j) {
          if (w[j] == 0) continue;
          entropy -= w[j] * std::log(w[j]);
          total += w[j];
          squares += w[j] * w[j];
          distance += w[j] * static_cast<double>(std::abs(place - j));
          if (j >= place - 6 && j <= place + 2) near += w[j];
          most = std::max(most, w[j]);
          if (sets[static_cast<size_t>(k0 + j)] >= 0) set[sets[static_cast<size_t>(k0 + j)]] += w[j];
          mass[static_cast<size_t>(j * 4 + h)] += w[j];
          blocks[static_cast<size_t>((i / 64 * tiles + j / 64) * 4 + h)] += w[j];
        }
        const double sink = 1 - total;
        if (sink > 1e-12) entropy -= sink * std::log(sink);
        EXPECT_NEAR(static_cast<double>(seen.entropy.data()[at]), entropy, 1e-4) << i;
        EXPECT_NEAR(static_cast<double>(seen.max_weight.data()[at]), most, 1e-5) << i;
        EXPECT_EQ(seen.max_key.data<int64_t>()[at], seen.top_k_keys.data<int64_t>()[at * 5]) << i;
        EXPECT_NEAR(static_cast<double>(seen.effective_keys.data()[at]), total * total / squares, 1e-3) << i;
        EXPECT_NEAR(static_cast<double>(seen.expected_distance.data()[at]), distance, 1e-3) << i;
        EXPECT_NEAR(static_cast<double>(seen.first_key_mass.data()[at]), w[0], 1e-5) << i;
        EXPECT_NEAR(static_cast<double>(seen.near_mass.data()[at]), near, 1e-4) << i;
        for (int64_t s = 0; s < 3; ++s)
          EXPECT_NEAR(static_cast<double>(seen.set_mass.data()[at * 3 + s]), set[s], 1e-4) << i;
      }
    }
    for (int64_t j = 0; j < r.lk * 4; ++j)
      EXPECT_NEAR(static_cast<double>(seen.key_mass.data()[k0 * 4 + j]), mass[static_cast<size_t>(j)], 1e-3);
    for (size_t b = 0; b < blocks.size(); ++b) {
      EXPECT_NEAR(static_cast<double>(
                      seen.block_mass.data()[seen.block_offsets.begin(n) * 4 + static_cast<int64_t>(b)]),
                  blocks[b], 1e-2);
    }
    const std::vector<int64_t> queries{q0 + 33, q0 + r.lq - 1, q0 + 33};
    const Ragged rows = attention_rows(a.inputs, a.problem.spec, queries);
    for (int64_t row = 0; row < 3; ++row) {
      const int64_t i = queries[static_cast<size_t>(row)] - q0;
      for (int64_t j = 0; j < r.lk; ++j) {
        for (int64_t h = 0; h < 4; ++h) {
          EXPECT_NEAR(static_cast<double>(rows.tokens.data()[(rows.offsets.begin(row) + j) * 4 + h]),
                      r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)], 1e-5)
              << i << " " << j;
        }
      }
    }
  }
}

TEST(TopK, PackingThreadsAndObserversDoNotChangeBits) {
  Problem p;
  p.q_lengths = {70, 0, 1, 300, 33, 65};
  p.k_lengths = {70, 5, 1, 700, 90, 0};
  p.heads = 4;
  p.kv_heads = 2;
  p.d = 32;
  p.dv = 24;
  p.spec.top_k = 8;
  const int before = get_num_threads();
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    const Arrays a = make_arrays(p);
    const Results whole = run_engine(a);
    for (const int threads : {1, 2, 3, 8}) {
      set_num_threads(threads);
      const Results again = run_engine(a);
      expect_same_bits(whole.out, again.out, "out");
      expect_same_bits(whole.dq, again.dq, "dq");
      expect_same_bits(whole.dk, again.dk, "dk");
      expect_same_bits(whole.dv, again.dv, "dv");
    }
    set_num_threads(before);
    Tensor out = Tensor::empty({469, 4, 24});
    Insight seen;
    attention_forward(a.inputs, p.spec, heads_of(out), nullptr, observe::key_mass | observe::entropy, &seen);
    expect_same_bits(whole.out, out, "observed");
    for (int64_t n = 0; n < 6; ++n) {
      const auto part = [&](const Tensor& x, const Offsets& o) { return x.rows(o.begin(n), o.end(n)); };
      const AttentionResult one =
          attention(part(a.q, a.q_offsets), part(a.k, a.k_offsets), part(a.v, a.k_offsets), p.spec);
      expect_same_bits(part(whole.out, a.q_offsets), one.out, "alone");
      expect_same_bits(part(whole.lse, a.q_offsets), one.lse, "alone");
    }
  }
  set_num_threads(before);
}

TEST(TopK, NanSpoilsTheRowsThatSeeItAndNoOther) {
  Problem p;
  p.q_lengths = p.k_lengths = {100};
  p.spec.causal = true;
  p.spec.top_k = 4;
  const Arrays clean = make_arrays(p);
  const Results expected = run_engine(clean, false);
  Arrays dirty = make_arrays(p);
  dirty.k.data()[70 * 8 + 3] = NAN;
  const Results got = run_engine(dirty);
  for (int64_t t = 0; t < 100; ++t) {
    EXPECT_EQ(std::isnan(got.out.data()[t * 8]), t >= 70) << t;
    EXPECT_EQ(std::isnan(got.lse.data()[t]), t >= 70) << t;
    EXPECT_EQ(std::isnan(got.dq.data()[t * 8]), t >= 70) << t;
    if (t < 70) {
      EXPECT_EQ(got.out.data()[t * 8], expected.out.data()[t * 8]) << t;
    }
  }
}

TEST(TopK, HalfAndDoubleKeepTheirStrongestToo) {
  Problem p;
  p.q_lengths = {40};
  p.k_lengths = {90};
  p.heads = 2;
  p.d = p.dv = 16;
  p.spec.causal = true;
  p.spec.top_k = 5;
  Arrays a = make_arrays(p);
  for (Tensor* x : {&a.q, &a.k, &a.v}) *x = x->to(DType::kBF16).to(DType::kF32);
  const AttentionResult half =
      attention(a.q.to(DType::kBF16), a.k.to(DType::kBF16), a.v.to(DType::kBF16), p.spec);
  const AttentionResult single = attention(a.q, a.k, a.v, p.spec);
  expect_same_bits(half.lse, single.lse, "the widened call's lse");

  const Tensor q = a.q.to(DType::kF64), k = a.k.to(DType::kF64), v = a.v.to(DType::kF64);
  const auto view = [](const Tensor& x) {
    return contiguous_view<const double, 3>(x.data<double>(), {x.dim(0), x.dim(1), x.dim(2)});
  };
  DoubleAttentionInputs in{.q = view(q), .k = view(k), .v = view(v)};
  in.rest.q_offsets = a.q_offsets;
  in.rest.k_offsets = a.k_offsets;
  Tensor out = Tensor::empty({40, 2, 16}, DType::kF64), lse = Tensor::empty({40, 2}, DType::kF64);
  Insight seen;
  attention_forward(in, p.spec, contiguous_view<double, 3>(out.data<double>(), {40, 2, 16}),
                    lse.data<double>(), observe::top_k(6), &seen);
  for (int64_t row = 0; row < 80; ++row) {
    for (int64_t s = 0; s < 6; ++s) {
      const bool none = seen.top_k_keys.data<int64_t>()[row * 6 + s] < 0;
      EXPECT_EQ(none, s >= 5) << row;
    }
    EXPECT_NEAR(lse.data<double>()[row], static_cast<double>(single.lse.data()[row]), 1e-5) << row;
    for (int64_t c = 0; c < 16; ++c) {
      EXPECT_NEAR(out.data<double>()[row * 16 + c], static_cast<double>(single.out.data()[row * 16 + c]),
                  1e-5);
    }
  }
}

TEST(TopK, MemoryGrowsWithTheTokensNotWithTheirSquare) {
  Problem p;
  p.q_lengths = p.k_lengths = {6000};  // one score matrix would take 144 MB
  p.d = p.dv = 16;
  p.spec.window_left = 64;
  p.spec.top_k = 8;
  const Arrays a = make_arrays(p);
  const int64_t before = memory_stats().bytes_in_use;
  reset_peak_memory();
  run_engine(a);
  // Results 1.6 MB, lists of 6000·8 pairs at 12 bytes, a workspace a thread; the pool rounds up.
  EXPECT_LT(memory_stats().peak_bytes_in_use - before, int64_t{16} << 20);
}

TEST(TopK, WrongCallsSayWhatIsExpected) {
  Problem p;
  p.q_lengths = p.k_lengths = {4};
  Arrays a = make_arrays(p);
  a.problem.spec.top_k = -1;
  EXPECT_ERROR(run_engine(a), ArgumentError,
               "[attention_forward] expected top_k >= 1, or 0 for all keys, got -1");
  a.problem.spec.top_k = 2;
  const HeadOverride off[] = {HeadOverride::kOff};
  a.inputs.override_heads.heads = off;
  EXPECT_ERROR(run_engine(a), ArgumentError,
               "[attention_forward] expected no overridden heads with top_k, got 1");
  a.inputs.override_heads.heads = {};
  const std::vector<float> lse(4);
  EXPECT_ERROR(
      sampled_key_mass(a.inputs, a.problem.spec, 2, {}), ArgumentError,
      "[sampled_key_mass] expected no top_k, of whose few keys the exact key mass costs little, got 2");
}

TEST(TopK, ThePlanSaysWhatServesIt) {
  AttentionSpec spec;
  spec.top_k = 8;
  for (const PlannedKernel& kernel : attention_plan({.dtype = DType::kBF16}, spec)) {
    if (kernel.name == "float32") {
      EXPECT_TRUE(kernel.serves);
      EXPECT_NE(kernel.reason.find("choose at most 8 keys a query, computed one by one"), std::string::npos);
    } else {
      EXPECT_FALSE(kernel.serves) << kernel.name;
    }
  }
}

}  // namespace
}  // namespace fovea::testing
