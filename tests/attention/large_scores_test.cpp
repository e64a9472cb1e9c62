// Scores of any size: weights that are made again (exact rows, key mass, gradients) are those of the forward
// pass, and a finite score, however low or high, counts.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/attention/decode.hpp"
#include "fovea/attention/double.hpp"
#include "fovea/attention/merge.hpp"
#include "fovea/attention/plan.hpp"
#include "tests/attention/half_problem.hpp"
#include "tests/support/use_isa.hpp"

namespace fovea::testing {
namespace {

constexpr float kLowest = std::numeric_limits<float>::lowest();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
// ±2.36e38 is where a number leaves float32 in units of log2.
constexpr float kLevels[] = {0.0f,     -1770.0f, -1e4f,   -1e6f,   -1e9f, -1e30f,  -1e38f, -2.3e38f,
                             -2.4e38f, -3e38f,   kLowest, 1770.0f, 1e9f,  2.4e38f, 3.4e38f};

// Scores 0, so that all keys weigh 1 / Lk whatever one number all of them carry.
Problem level_problem(int64_t keys) {
  Problem p;
  p.q_lengths = {3};
  p.k_lengths = {keys};
  p.heads = 2, p.kv_heads = 1;
  p.d = p.dv = 16;
  p.magnitude = 0.0;
  p.bias = {false, false, false, true};
  p.seed = 7 + static_cast<uint64_t>(keys);
  return p;
}

Arrays level_arrays(int64_t keys, float level) {
  Arrays a = make_arrays(level_problem(keys));
  for (float& x : a.bias.span()) x = level;
  return a;
}

double mean_of(const Tensor& x, int64_t rows, int64_t width, int64_t c) {
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i) sum += static_cast<double>(x.data()[i * width + c]);
  return sum / static_cast<double>(rows);
}

// out = mean(v) and dv = Σ dout / Lk, to `tolerance` of what they sum.
void expect_uniform(const Arrays& a, const Tensor& out, const Tensor& dv, double tolerance,
                    const std::string& what) {
  const Problem& p = a.problem;
  const int64_t keys = p.k_lengths[0], rows = p.q_lengths[0] * p.heads;
  for (int64_t c = 0; c < p.dv; ++c) {
    const double mean = mean_of(a.v, keys, p.dv, c);
    for (int64_t row = 0; row < rows; ++row)
      ASSERT_NEAR(static_cast<double>(out.data()[row * p.dv + c]), mean, tolerance * 4) << what;
    const double each =
        mean_of(a.dout, rows, p.dv, c) * static_cast<double>(rows) / static_cast<double>(keys);
    for (int64_t j = 0; j < keys; ++j) {
      ASSERT_NEAR(static_cast<double>(dv.data()[j * p.dv + c]), each,
                  tolerance * 24 / static_cast<double>(keys))
          << what;
    }
  }
}

void expect_uniform_insight(const Insight& seen, const Ragged& rows, int64_t queries, int64_t keys,
                            const std::string& what) {
  const auto n = static_cast<double>(keys);
  for (const float x : seen.entropy.span()) ASSERT_NEAR(static_cast<double>(x), std::log(n), 1e-5) << what;
  for (const float x : seen.max_weight.span()) ASSERT_NEAR(static_cast<double>(x) * n, 1.0, 2e-6) << what;
  for (const float x : seen.effective_keys.span()) ASSERT_NEAR(static_cast<double>(x) / n, 1.0, 1e-5) << what;
  for (const float x : seen.key_mass.span())
    ASSERT_NEAR(static_cast<double>(x) * n, static_cast<double>(queries), 1e-5) << what;
  for (const float x : rows.tokens.span()) ASSERT_NEAR(static_cast<double>(x) * n, 1.0, 1e-6) << what;
}

constexpr int64_t kKeys[] = {1, 10, 70, 300};

TEST(LargeScores, OneLevelForAllKeysIsUniformAttention) {
  const Observers observers = observe::entropy | observe::max | observe::key_mass | observe::effective_keys;
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const float level : kLevels) {
      for (const int64_t keys : kKeys) {
        const std::string what = fmt::format("{} level {} of {} keys", to_string(isa), level, keys);
        const Arrays a = level_arrays(keys, level);
        const Results r = run_engine(a);
        expect_uniform(a, r.out, r.dv, 1e-6, what);
        const AttentionResult seen = attention(a.inputs, {}, observers);
        expect_uniform_insight(seen.seen, attention_rows(a.inputs, {}, std::vector<int64_t>{0, 2}), 3, keys,
                               what);
        expect_same_bits(seen.out, r.out, what);
        const double lse = static_cast<double>(level) + std::log(static_cast<double>(keys));
        for (const float x : r.lse.span())
          ASSERT_NEAR(static_cast<double>(x), lse, 3e-7 * std::abs(lse) + 1e-6) << what;
      }
    }
  }
}

TEST(LargeScores, SoDoThe16BitKernels) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const char* kernel : {"software_bf16", "float32"}) {
      set_attention_kernel(kernel);
      for (const float level : kLevels) {
        for (const int64_t keys : kKeys) {
          HalfArrays<BFloat16> a = make_half<BFloat16>(level_problem(keys));
          for (float& x : a.wide.bias.span()) x = level;
          const Results r = run_half(a);
          // Weights, out and dv are rounded to 8 bits.
          expect_uniform(a.wide, r.out.to(DType::kF32), r.dv.to(DType::kF32), 0x1p-7,
                         fmt::format("{} {} level {} of {} keys", kernel, to_string(isa), level, keys));
        }
      }
    }
    set_attention_kernel("");
  }
}

TEST(LargeScores, SoDoesTopK) {
  for (const float level : kLevels) {
    Arrays a = level_arrays(70, level);
    a.problem.spec.top_k = 10;  // of equals the first ten
    const Results r = run_engine(a);
    const Ragged rows = attention_rows(a.inputs, a.problem.spec, std::vector<int64_t>{1});
    for (int64_t c = 0; c < 16; ++c)
      ASSERT_NEAR(static_cast<double>(r.out.data()[c]), mean_of(a.v, 10, 16, c), 1e-6) << level;
    double mass = 0;
    for (const float x : rows.tokens.span()) mass += static_cast<double>(x);
    ASSERT_NEAR(mass, 2.0, 1e-6) << level;
  }
}

TEST(LargeScores, SoDoesFloat64) {
  for (const double level : {0.0, -1e9, -1e17, -1e300, std::numeric_limits<double>::lowest(), 1e300}) {
    const int64_t keys = 10;
    const Arrays a = make_arrays(level_problem(keys));
    const Tensor q = Tensor::zeros({3, 2, 16}, DType::kF64), k = a.k.to(DType::kF64), v = a.v.to(DType::kF64),
                 dout = a.dout.to(DType::kF64);
    const auto view = [](const Tensor& x) {
      return contiguous_view<const double, 3>(x.data<double>(), {x.dim(0), x.dim(1), x.dim(2)});
    };
    const std::vector<double> bias(10, level);
    DoubleAttentionInputs in;
    in.q = view(q);
    in.k = view(k);
    in.v = view(v);
    in.rest.q_offsets = a.q_offsets;
    in.rest.k_offsets = a.k_offsets;
    in.bias = {bias.data(), {1, 2, 3, 10}, {0, 0, 0, 1}};
    Tensor out = Tensor::empty({3, 2, 16}, DType::kF64), lse = Tensor::empty({3, 2}, DType::kF64);
    Tensor dv = Tensor::empty({10, 1, 16}, DType::kF64);
    const auto writable = [](Tensor& x) {
      return contiguous_view<double, 3>(x.data<double>(), {x.dim(0), x.dim(1), x.dim(2)});
    };
    Insight seen;
    attention_forward(in, {}, writable(out), lse.data<double>(),
                      observe::entropy | observe::max | observe::key_mass, &seen);
    DoubleAttentionGradients g;
    g.dv = writable(dv);
    attention_backward(in, {}, view(out), lse.data<double>(), view(dout), g);
    expect_uniform(a, out.to(DType::kF32), dv.to(DType::kF32), 1e-6, fmt::format("float64 level {}", level));
    for (int64_t i = 0; i < 6; ++i)
      ASSERT_NEAR(seen.entropy.data<double>()[i], std::log(10.0), 1e-12) << level;
    for (int64_t i = 0; i < 20; ++i) ASSERT_NEAR(seen.key_mass.data<double>()[i], 0.3, 1e-12) << level;
    const Ragged rows = attention_rows(in, {}, std::vector<int64_t>{2});
    for (int64_t i = 0; i < 20; ++i) ASSERT_NEAR(rows.tokens.data<double>()[i], 0.1, 1e-14) << level;
  }
}

TEST(LargeScores, OfTwoLevelsTheHigherTakesAll) {
  constexpr std::pair<float, float> kPairs[] = {{-3e38f, -kInfinity}, {-3e38f, kLowest},  {-1.1e38f, -3e38f},
                                                {-1e30f, -1e38f},     {3.4e38f, 3.3e38f}, {0.0f, kLowest}};
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const auto& [high, low] : kPairs) {
      Arrays a = level_arrays(70, low);
      a.bias.data()[41] = high;
      const Results r = run_engine(a);
      for (int64_t c = 0; c < 16; ++c) {
        ASSERT_EQ(r.out.data()[c], a.v.data()[41 * 16 + c]) << high << " above " << low;
        ASSERT_EQ(r.dv.data()[40 * 16 + c], 0.0f) << high << " above " << low;
      }
    }
  }
}

// Each row of weights sums to 1, so that Σ_j dv_j = Σ_i dout_i and the masses sum to the number of queries:
// with an lse of float32 in their place the error is |lse|·6e-8.
TEST(LargeScores, RemadeWeightsSumToOneWhateverTheMagnitude) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const double magnitude : {1.0, 100.0, 1e4, 1e6}) {
      Problem p;
      p.q_lengths = p.k_lengths = {200};
      p.heads = 1;
      p.d = p.dv = 16;
      p.magnitude = magnitude;
      p.spec.score = Score::kDot;
      const Arrays a = make_arrays(p);
      const Results r = run_engine(a);
      for (int64_t c = 0; c < 16; ++c) {
        const double dv = 200 * mean_of(r.dv, 200, 16, c), dout = 200 * mean_of(a.dout, 200, 16, c);
        ASSERT_NEAR(dv, dout, 200 * 1.5e-6) << to_string(isa) << " magnitude " << magnitude;
      }
      const AttentionResult seen = attention(a.inputs, p.spec, observe::key_mass);
      ASSERT_NEAR(200 * mean_of(seen.seen.key_mass, 200, 1, 0), 200.0, 200 * 1.5e-6) << magnitude;
    }
  }
}

// Biases by distance pass another way than bias arrays.
TEST(LargeScores, DistancesOfOneLevelAreUniformAttention) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const float level : kLevels) {
      Problem p = level_problem(70);
      p.bias.clear();
      p.relative = true;
      Arrays a = make_arrays(p);
      for (float& x : a.table.span()) x = level;
      const Results r = run_engine(a);
      expect_uniform(a, r.out, r.dv, 1e-6, fmt::format("{} distances of {}", to_string(isa), level));
    }
  }
}

// On caches each query attends the last key alone where a distance of 1 costs nearly all that there is, and
// no key is lost where only such keys are left.
TEST(LargeScores, DecodingCountsFiniteScores) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const int64_t rows : {1, 5}) {
      KvCache cache({1, 16, 16, CacheType::kF32, 16, 0});
      Tensor keys = Tensor::zeros({70, 1, 16}), values = Tensor::zeros({70, 1, 16}),
             q = Tensor::zeros({rows, 1, 16});
      for (int64_t j = 0; j < 70; ++j) values.data()[j * 16] = static_cast<float>(j);
      cache.append(contiguous_view<const float, 3>(keys.data(), {70, 1, 16}),
                   contiguous_view<const float, 3>(values.data(), {70, 1, 16}));
      const KvCache* caches[] = {&cache};
      const float slope[] = {2.5e38f};
      DecodeInputs in;
      in.q = contiguous_view<const float, 3>(q.data(), {rows, 1, 16});
      in.q_offsets = Offsets::single(rows);
      in.caches = caches;
      in.alibi_slopes = slope;
      AttentionSpec spec;
      spec.causal = true;
      Tensor out = Tensor::empty({rows, 1, 16}), lse = Tensor::empty({rows, 1});
      Insight seen;
      attention_decode(in, spec, contiguous_view<float, 3>(out.data(), {rows, 1, 16}), lse.data(),
                       observe::key_mass | observe::entropy, &seen);
      for (int64_t i = 0; i < rows; ++i) {
        ASSERT_EQ(out.data()[i * 16], static_cast<float>(70 - rows + i)) << to_string(isa);
        ASSERT_EQ(seen.key_mass.data()[70 - rows + i], 1.0f) << to_string(isa);
        ASSERT_EQ(seen.entropy.data()[i], 0.0f);
      }
    }
  }
}

// A sink far below every score is none; one far above takes all.
TEST(LargeScores, SinksOfAnySize) {
  for (const float sink : {-kInfinity, kLowest, -1e9f, 1e9f, 3.4e38f}) {
    Arrays a = level_arrays(10, 0.0f);
    const float sinks[] = {sink, sink};
    a.inputs.sinks = sinks;
    const AttentionResult r = attention(a.inputs, {}, observe::entropy | observe::key_mass);
    const double mass = sink < 0 ? 0.3 : 0.0;
    for (const float x : r.seen.key_mass.span()) ASSERT_NEAR(static_cast<double>(x), mass, 1e-6) << sink;
    for (int64_t c = 0; c < 16; ++c)
      ASSERT_NEAR(static_cast<double>(r.out.data()[c]), sink < 0 ? mean_of(a.v, 10, 16, c) : 0.0, 1e-6)
          << sink;
  }
}

// Two parts of unequal size at one level: each key counts the same. With lse alone each part would have half.
TEST(LargeScores, PartsMergeByTheirKeys) {
  for (const float level : kLevels) {
    const Observers observers = observe::entropy | observe::max | observe::effective_keys;
    const Arrays a = level_arrays(10, level), b = level_arrays(30, level);
    AttentionResult whole = attention(a.inputs, {}, observers);
    const AttentionResult part = attention(b.inputs, {}, observers);
    const int64_t first[] = {10};
    merge(whole, part, a.q_offsets, first);
    for (int64_t c = 0; c < 16; ++c) {
      const double want = 0.25 * mean_of(a.v, 10, 16, c) + 0.75 * mean_of(b.v, 30, 16, c);
      ASSERT_NEAR(static_cast<double>(whole.out.data()[c]), want, 2e-6) << level;
    }
    for (const float x : whole.seen.entropy.span())
      ASSERT_NEAR(static_cast<double>(x), std::log(40.0), 2e-5) << level;
    const auto* rows = reinterpret_cast<const SoftmaxRow*>(whole.seen.softmax_rows.data());
    const Tensor mass = attention_key_mass(b.inputs, {}, rows);
    for (const float x : mass.span()) ASSERT_NEAR(static_cast<double>(x), 3.0 / 40, 2e-6) << level;
    ASSERT_NEAR(static_cast<double>(share_of_whole(
                    reinterpret_cast<const SoftmaxRow*>(part.seen.softmax_rows.data())[0], rows[0])),
                0.75, 1e-6)
        << level;
  }
}

}  // namespace
}  // namespace fovea::testing
