// The float64 call equals the definition to float64's rounding, and has the guarantees of the float32 one.
//
// Tolerance: sums of at most 130 products of numbers below 10, in another order than the reference's, are off
// by 130·100·2^-52 = 3e-12; gradients are sums of 130 such terms times numbers below 10. 1e-9 leaves room,
// and is a hundred thousand times below what float32 arithmetic anywhere in the path would show.
#include "fovea/attention/double.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

constexpr double kTolerance = 1e-9;

struct DoubleRun {
  Tensor q, k, v, slopes, sinks, table, dout;
  Tensor out, lse, dq, dk, dv, dslopes, dsinks, dtable;
  DoubleAttentionInputs inputs;
  Insight seen;
};

HeadsView<double> heads(Tensor& x) {
  return contiguous_view<double, 3>(x.data<double>(), {x.dim(0), x.dim(1), x.dim(2)});
}
HeadsView<const double> heads(const Tensor& x) {
  return contiguous_view<const double, 3>(x.data<double>(), {x.dim(0), x.dim(1), x.dim(2)});
}

Problem problem_of(uint64_t seed) {
  Problem p;
  p.q_lengths = {33, 0, 7, 65};
  p.k_lengths = {40, 3, 0, 65};
  p.heads = 4;
  p.kv_heads = 2;
  p.d = 20;
  p.dv = 12;
  p.seed = seed;
  switch (seed) {
    case 1:
      p.spec.causal = true;
      break;
    case 2:
      p.spec.window_left = 9, p.spec.window_right = 3;
      break;
    case 3:
      p.alibi = p.relative = p.sinks = true;
      break;
    case 4:
      p.spec.softcap = 2.0f, p.spec.scale = 0.25f;
      break;
    case 8:
      p.lse_gradient = p.sinks = true, p.spec.softcap = 3.0f;
      break;
    case 5:
      p.spec.dropout = 0.25f, p.spec.dropout_key = RandomKey{7, 9};
      break;
    case 6:
      p.spec.score = Score::kCosine, p.spec.scale = 4.0f;
      break;
    case 7:
      p.spec.score = Score::kNegSquaredLorentz, p.spec.scale = 0.1f;
      break;
    default:
      break;
  }
  return p;
}

DoubleRun run(const Arrays& a, const Observers& observers = {}) {
  DoubleRun x;
  x.q = a.q.to(DType::kF64);
  x.k = a.k.to(DType::kF64);
  x.v = a.v.to(DType::kF64);
  x.dout = a.dout.to(DType::kF64);
  x.inputs.q = heads(std::as_const(x.q));
  x.inputs.k = heads(std::as_const(x.k));
  x.inputs.v = heads(std::as_const(x.v));
  x.inputs.rest.q_offsets = a.q_offsets;
  x.inputs.rest.k_offsets = a.k_offsets;
  x.inputs.rest.relative = a.inputs.relative;
  const AttentionSpec& spec = a.problem.spec;
  if (spec.scale) x.inputs.scale = static_cast<double>(*spec.scale);
  x.inputs.softcap = static_cast<double>(spec.softcap);
  const int64_t h = a.problem.heads;
  x.dslopes = Tensor::zeros({h}, DType::kF64);
  x.dsinks = Tensor::zeros({h}, DType::kF64);
  x.dtable = Tensor::zeros({16, h}, DType::kF64);
  DoubleAttentionGradients g;
  if (a.problem.alibi) {
    x.slopes = a.slopes.to(DType::kF64);
    x.inputs.alibi_slopes = std::as_const(x.slopes).span<double>();
    g.dslopes = x.dslopes.data<double>();
  }
  if (a.problem.sinks) {
    x.sinks = a.sinks.to(DType::kF64);
    x.inputs.sinks = std::as_const(x.sinks).span<double>();
    g.dsinks = x.dsinks.data<double>();
  }
  if (a.problem.relative) {
    x.table = a.table.to(DType::kF64);
    if (a.problem.alibi) x.inputs.relative_table = std::as_const(x.table).span<double>();
    g.dtable = x.dtable.data<double>();
  }
  x.out = Tensor::empty({x.q.dim(0), h, x.v.dim(2)}, DType::kF64);
  x.lse = Tensor::empty({x.q.dim(0), h}, DType::kF64);
  attention_forward(x.inputs, spec, heads(x.out), x.lse.data<double>(), observers, &x.seen);
  x.dq = Tensor::empty(x.q.shape(), DType::kF64);
  x.dk = Tensor::empty(x.k.shape(), DType::kF64);
  x.dv = Tensor::empty(x.v.shape(), DType::kF64);
  g.dq = heads(x.dq);
  g.dk = heads(x.dk);
  g.dv = heads(x.dv);
  const Tensor dlse = a.dlse ? a.dlse.to(DType::kF64) : Tensor();
  attention_backward(x.inputs, spec, heads(std::as_const(x.out)), x.lse.data<double>(),
                     heads(std::as_const(x.dout)), g, dlse ? dlse.data<double>() : nullptr);
  return x;
}

void expect_near(const Tensor& got, int64_t begin, const std::vector<double>& want, const char* what,
                 uint64_t seed) {
  const int64_t width = got.dim(0) == 0 ? 0 : got.numel() / got.dim(0);
  for (size_t i = 0; i < want.size(); ++i) {
    const double value = got.data<double>()[begin * width + static_cast<int64_t>(i)];
    if (value == want[i]) continue;
    ASSERT_NEAR(value, want[i], kTolerance) << what << "[" << i << "] of problem " << seed;
  }
}

std::vector<double> rows(const Tensor& x, const Offsets& offsets, int64_t n) {
  const int64_t width = x.dim(1) * x.dim(2);
  const double* from = x.data<double>();
  return {from + offsets.begin(n) * width, from + offsets.end(n) * width};
}

TEST(DoubleAttention, EqualsTheDefinitionForwardAndBackward) {
  for (uint64_t seed = 0; seed <= 8; ++seed) {
    const Arrays a = make_arrays(problem_of(seed));
    const DoubleRun x = run(a);
    std::vector<double> dslopes(4), dsinks(4);
    for (int64_t n = 0; n < a.q_offsets.count(); ++n) {
      reference::Attention r = make_reference(a, n);
      // The engine's defaults in float64, where the reference was given float32 ones.
      if (a.problem.spec.score == Score::kScaledDot && !a.problem.spec.scale) r.scale = 1.0 / std::sqrt(20.0);
      if (a.problem.alibi && a.problem.relative) {
        r.bias = [&a](int64_t h, int64_t e) {
          const RelativeBias& t = a.inputs.relative;
          return static_cast<double>(
                     t.table[relative_bucket(-e, t.buckets, t.max_distance, t.bidirectional) * 4 + h]) -
                 static_cast<double>(a.slopes.data()[h]) * static_cast<double>(std::abs(e));
        };
      }
      r.forward();
      r.backward(rows(x.dout, a.q_offsets, n));
      expect_near(x.out, a.q_offsets.begin(n), r.out, "out", seed);
      expect_near(x.lse, a.q_offsets.begin(n), r.lse, "lse", seed);
      expect_near(x.dq, a.q_offsets.begin(n), r.dq, "dq", seed);
      expect_near(x.dk, a.k_offsets.begin(n), r.dk, "dk", seed);
      expect_near(x.dv, a.k_offsets.begin(n), r.dv_out, "dv", seed);
      for (int64_t h = 0; h < 4; ++h) {
        if (a.problem.sinks) dsinks[static_cast<size_t>(h)] += r.dsinks[static_cast<size_t>(h)];
        for (int64_t i = 0; i < r.lq; ++i) {
          for (int64_t j = 0; j < r.lk; ++j)
            dslopes[static_cast<size_t>(h)] -= r.dbias[static_cast<size_t>((h * r.lq + i) * r.lk + j)] *
                                               static_cast<double>(std::abs(i + r.lk - r.lq - j));
        }
      }
    }
    if (a.problem.sinks) expect_near(x.dsinks, 0, dsinks, "dsinks", seed);
    if (a.problem.alibi) expect_near(x.dslopes, 0, dslopes, "dslopes", seed);
  }
}

TEST(DoubleAttention, SameBitsForAnyNumberOfThreads) {
  const Arrays a = make_arrays(problem_of(3));
  const int before = get_num_threads();
  set_num_threads(1);
  const DoubleRun one = run(a, {.entropy = true, .max = true, .key_mass = true, .top_k = 3});
  for (const int threads : {2, 3, 8}) {
    set_num_threads(threads);
    const DoubleRun many = run(a, {.entropy = true, .max = true, .key_mass = true, .top_k = 3});
    for (const auto part : {&DoubleRun::out, &DoubleRun::dq, &DoubleRun::dk, &DoubleRun::dv,
                            &DoubleRun::dslopes, &DoubleRun::dsinks, &DoubleRun::dtable}) {
      expect_same_bits(one.*part, many.*part, std::to_string(threads) + " threads");
    }
    expect_same_bits(one.seen.key_mass, many.seen.key_mass, "key mass");
    expect_same_bits(one.seen.entropy, many.seen.entropy, "entropy");
  }
  set_num_threads(before);
}

TEST(DoubleAttention, ObserversSeeTheWeights) {
  const Arrays a = make_arrays(problem_of(3));
  std::vector<int32_t> sets;
  for (int64_t j = 0; j < a.k_offsets.total(); ++j) sets.push_back(static_cast<int32_t>(j % 4) - 1);
  const DoubleRun x = run(a, Observers{.entropy = true, .max = true, .key_mass = true, .top_k = 3} |
                                 observe::effective_keys | observe::distance | observe::first_key |
                                 observe::block_mass | observe::near(5, 2) | observe::key_sets(sets, 3));
  expect_same_bits(x.out, run(a).out, "out beside observers");
  const int64_t n = 3, h = 2;
  std::vector<double> mass(65), blocks(4);
  for (int64_t i = 0; i < 65; ++i) {
    const int64_t t = a.q_offsets.begin(n) + i, at = t * 4 + h;
    const Ragged row = attention_rows(x.inputs, a.problem.spec, std::vector<int64_t>{t});
    std::vector<std::pair<double, int64_t>> weights;
    double entropy = 0, left = 1, squares = 0, distance = 0, near = 0, of_sets[3] = {};
    for (int64_t j = 0; j < 65; ++j) {
      const double w = row.tokens.data<double>()[j * 4 + h];
      weights.emplace_back(-w, j);
      mass[static_cast<size_t>(j)] += w;
      entropy -= w * std::log(w);
      left -= w;
      squares += w * w;
      distance += w * static_cast<double>(std::abs(i - j));
      if (j >= i - 5 && j <= i + 2) near += w;
      const int32_t set = sets[static_cast<size_t>(a.k_offsets.begin(n) + j)];
      if (set >= 0) of_sets[set] += w;
      blocks[static_cast<size_t>(i / 64 * 2 + j / 64)] += w;
    }
    ASSERT_NEAR(x.seen.effective_keys.data<double>()[at], (1 - left) * (1 - left) / squares, kTolerance) << i;
    ASSERT_NEAR(x.seen.expected_distance.data<double>()[at], distance, 64 * kTolerance) << i;
    ASSERT_EQ(x.seen.first_key_mass.data<double>()[at], row.tokens.data<double>()[h]) << i;
    ASSERT_NEAR(x.seen.near_mass.data<double>()[at], near, kTolerance) << i;
    for (int64_t s = 0; s < 3; ++s)
      ASSERT_NEAR(x.seen.set_mass.data<double>()[at * 3 + s], of_sets[s], kTolerance) << i << ' ' << s;
    entropy -= left * std::log(left);  // the sink
    std::sort(weights.begin(), weights.end());
    ASSERT_NEAR(x.seen.entropy.data<double>()[at], entropy, kTolerance) << i;
    ASSERT_EQ(x.seen.max_weight.data<double>()[at], -weights[0].first) << i;
    ASSERT_EQ(x.seen.max_key.data<int64_t>()[at], weights[0].second) << i;
    for (int64_t c = 0; c < 3; ++c) {
      ASSERT_EQ(x.seen.top_k_weights.data<double>()[at * 3 + c], -weights[static_cast<size_t>(c)].first) << i;
      ASSERT_EQ(x.seen.top_k_keys.data<int64_t>()[at * 3 + c], weights[static_cast<size_t>(c)].second) << i;
    }
  }
  for (int64_t b = 0; b < 4; ++b) {
    ASSERT_NEAR(x.seen.block_mass.data<double>()[(x.seen.block_offsets.begin(n) + b) * 4 + h],
                blocks[static_cast<size_t>(b)], 64 * kTolerance)
        << b;
  }
  for (int64_t j = 0; j < 65; ++j) {
    ASSERT_NEAR(x.seen.key_mass.data<double>()[(a.k_offsets.begin(n) + j) * 4 + h],
                mass[static_cast<size_t>(j)], kTolerance)
        << j;
  }
}

TEST(DoubleAttention, BadCallsSayWhatIsWrong) {
  const Arrays a = make_arrays(problem_of(0));
  DoubleRun x = run(a);
  const std::vector<double> three(3);
  const auto call = [&](const DoubleAttentionInputs& in) {
    attention_forward(in, {}, heads(x.out), x.lse.data<double>());
  };
  DoubleAttentionInputs wrong = x.inputs;
  wrong.alibi_slopes = three;
  EXPECT_ERROR(call(wrong), ArgumentError,
               "[attention_forward] expected one ALiBi slope for each of the 4 heads, got 3");
  wrong = x.inputs;
  wrong.softcap = -1;
  EXPECT_ERROR(call(wrong), ArgumentError, "[attention_forward] expected softcap >= 0, got -1");
  wrong = x.inputs;
  wrong.q.dims[0] = 3;
  EXPECT_ERROR(call(wrong), ArgumentError,
               "[attention_forward] expected q with one row for each of the 105 tokens of its offsets, got 3 "
               "rows");
}

}  // namespace
}  // namespace fovea::testing
