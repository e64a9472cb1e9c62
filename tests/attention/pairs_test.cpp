// bf16 kernels against float64 on the same bf16 inputs.
//
// Tolerances, u = 2^-8 (half a unit in the last of bf16's 8 bits, relative to the number), ε = 2^-23.
// Products are exact; sums and exp2 err as float32 does, w = 2s + 4ε + ε|lse| + 3ε√Lk with s = 6ε·scale·max
// Σ|q_c k_c|, plus 6e-6 (a coarser exp2, and its sum). Weights are rounded to bf16 (u each), dS too, and each
// result once more:
//   out: (w + 2u)·max|v|·keep;   dv: (w + 2u)·max|dout|·(mass of the key)
//   dS: P·e, e = (w + u)·(max|dP| + max|δ|) + u·max Σ|out_c·dout_c| (δ comes from the rounded out)
//   biases: e for each row of weights that an element sums (over keys ΣP = 1), ×distance for slopes
//   dq: scale·(max|k|·e + u·max|dq|);   dk: scale·max|q|·e·(mass) + u·max|dk|
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/attention/plan.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/each_isa.hpp"
#include "tests/attention/half_problem.hpp"

namespace fovea::testing {
namespace {

constexpr double kEps = 0x1p-23, kHalfUnit = 0x1p-8;

double largest(const std::vector<double>& x) {
  double most = 0;
  for (const double value : x) most = std::max(most, std::abs(value));
  return most;
}

void expect_close(const Tensor& got, int64_t begin, const std::vector<double>& want, double tolerance,
                  const std::string& what) {
  const Tensor wide = got.to(DType::kF32);
  const int64_t width = wide.dim(0) == 0 ? 0 : wide.numel() / wide.dim(0);
  for (size_t i = 0; i < want.size(); ++i) {
    const auto value = static_cast<double>(wide.data()[begin * width + static_cast<int64_t>(i)]);
    if (std::isinf(want[i]) && value == want[i]) continue;
    ASSERT_NEAR(value, want[i], tolerance) << what << " [" << i << "]";
  }
}

void expect_near_reference(const HalfArrays<BFloat16>& a, const Results& results, bool backward) {
  const Problem& p = a.wide.problem;
  ParameterSums sums(a.wide);
  double parameter_tolerance = 0, bias_tolerance = 0, farthest = 1;
  for (int64_t n = 0; n < a.wide.q_offsets.count(); ++n) {
    const std::string what = p.describe();
    reference::Attention r = make_reference(a.wide, n);
    r.forward();
    double products = 0, lse = 0, mass = 0, bias = 0;
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        const double l = r.lse[static_cast<size_t>(i * p.heads + h)];
        if (std::isfinite(l)) lse = std::max(lse, std::abs(l));
        for (int64_t j = 0; j < r.lk; ++j) {
          double sum = 0;
          for (int64_t c = 0; c < r.d; ++c) {
            sum += std::abs(r.row(r.q, i, h, r.heads, r.d)[c] *
                            r.row(r.k, j, h / (r.heads / r.kv_heads), r.kv_heads, r.d)[c]);
          }
          products = std::max(products, sum);
          if (r.full_bias && r.sees(h, i, j)) bias = std::max(bias, std::abs(r.full_bias(h, i, j)));
        }
      }
    }
    const double scale = std::abs(r.scale), s = kEps * (6 * products * scale + r.softcap + 40 + bias);
    const double w = 2 * s + 4 * kEps + kEps * lse + 3 * kEps * std::sqrt(static_cast<double>(r.lk)) + 6e-6;
    const int64_t q0 = a.wide.q_offsets.begin(n), k0 = a.wide.k_offsets.begin(n);
    expect_close(results.lse, q0, r.lse, s + kEps * (lse + 4) + 3e-6, "lse of " + what);
    expect_close(results.out, q0, r.out, (w + 2 * kHalfUnit) * largest(r.v) * r.keep_scale, "out of " + what);
    if (!backward) continue;
    std::vector<double> dout;
    for (int64_t t = q0; t < a.wide.q_offsets.end(n); ++t) {
      for (int64_t c = 0; c < p.heads * p.dv; ++c)
        dout.push_back(static_cast<double>(a.wide.dout.data()[t * p.heads * p.dv + c]));
    }
    r.backward(dout);
    for (int64_t g = 0; g < p.kv_heads; ++g) {
      for (int64_t j = 0; j < r.lk; ++j) {
        double sum = 0;
        for (int64_t h = g * p.heads / p.kv_heads; h < (g + 1) * p.heads / p.kv_heads; ++h) {
          for (int64_t i = 0; i < r.lq; ++i) sum += r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
        }
        mass = std::max(mass, sum);
      }
    }
    double dp = 0, delta = 0, terms = 0;
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        const double* go = r.row(dout, i, h, r.heads, r.dv);
        double sum = r.dlse.empty() ? 0 : -r.dlse[static_cast<size_t>(i * r.heads + h)], absolute = 0;
        for (int64_t c = 0; c < r.dv; ++c) {
          sum += go[c] * r.row(r.out, i, h, r.heads, r.dv)[c];
          absolute += std::abs(go[c] * r.row(r.out, i, h, r.heads, r.dv)[c]);
        }
        delta = std::max(delta, std::abs(sum));
        terms = std::max(terms, absolute);
        for (int64_t j = 0; j < r.lk; ++j) {
          double product = 0;
          for (int64_t c = 0; c < r.dv; ++c)
            product += go[c] * r.row(r.v, j, h / (r.heads / r.kv_heads), r.kv_heads, r.dv)[c];
          dp = std::max(dp, std::abs(product));
        }
      }
    }
    mass = std::max(1.0, mass);
    const double e = (w + kHalfUnit) * (dp * r.keep_scale + delta) + (kHalfUnit + 16 * kEps) * terms;
    const double qm = largest(r.q), km = largest(r.k);
    expect_close(results.dq, q0, r.dq, scale * km * e + kHalfUnit * largest(r.dq), "dq of " + what);
    expect_close(results.dk, k0, r.dk, scale * qm * e * mass + kHalfUnit * largest(r.dk), "dk of " + what);
    expect_close(results.dv, k0, r.dv_out, (w + 2 * kHalfUnit) * largest(dout) * r.keep_scale * mass,
                 "dv of " + what);
    sums.add(a.wide, n, r);
    parameter_tolerance += e * static_cast<double>(r.lq);
    farthest = std::max(farthest, static_cast<double>(r.lq + r.lk));
    if (!p.bias.empty()) {
      const double more = e * summed_rows(p, r.lq);
      bias_tolerance = p.bias[0] ? std::max(bias_tolerance, more) : bias_tolerance + more;
    }
  }
  if (!backward) return;
  const std::string what = p.describe();
  if (p.sinks) expect_close(results.dsinks, 0, sums.dsinks, parameter_tolerance, "dsinks of " + what);
  if (p.relative) expect_close(results.dtable, 0, sums.dtable, parameter_tolerance, "dtable of " + what);
  if (p.alibi)
    expect_close(results.dslopes, 0, sums.dslopes, parameter_tolerance * farthest, "dslopes of " + what);
  if (!p.bias.empty()) expect_close(results.dbias, 0, sums.dbias, bias_tolerance, "dbias of " + what);
}

// Runs the body with each bf16 kernel of each instruction set that has it.
template <class Body>
void with_every_kernel(const Body& body) {
  const Isa before = current_isa();
  for (const Isa isa : available_isas()) {
    set_isa(isa);
    for (const char* name : {"software_bf16", "software_tiles"}) {
      set_attention_kernel(name);
      body(std::string(name) + " of " + to_string(isa));
    }
  }
  set_isa(before);
  if (cpu_features().avx512_bf16 && before == Isa::kAvx512) {
    set_attention_kernel("avx512_bf16");
    body(std::string("avx512_bf16"));
  }
  if (cpu_features().amx_bf16 && before == Isa::kAvx512 && amx_permitted()) {
    set_attention_kernel("amx_bf16");
    body(std::string("amx_bf16"));
  }
  set_attention_kernel("");
}

Problem square(int64_t length, int64_t width) {
  Problem p;
  p.q_lengths = p.k_lengths = {length};
  p.d = p.dv = width;
  p.seed = static_cast<uint64_t>(1000 * length + width);
  return p;
}

TEST(PairAttention, EqualsFloat64AtEveryLength) {
  with_every_kernel([](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    for (const int64_t length : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 300}) {
      for (const bool causal : {false, true}) {
        Problem p = square(length, 16);
        p.spec.causal = causal;
        const auto a = make_half<BFloat16>(p);
        expect_near_reference(a, run_half(a), true);
      }
    }
  });
}

TEST(PairAttention, EqualsFloat64AtEveryWidth) {
  with_every_kernel([](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    for (const int64_t width : {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 127}) {
      Problem p = square(40, width);
      p.dv = width % 5 + 1 + width / 2;
      p.k_lengths = {53};
      p.heads = 2;
      const auto a = make_half<BFloat16>(p);
      expect_near_reference(a, run_half(a), true);
    }
  });
}

TEST(PairAttention, EqualsFloat64WithEveryOption) {
  with_every_kernel([](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    const auto check = [](auto&& change) {
      Problem p = square(70, 24);
      p.q_lengths = {70, 0, 5, 90};
      p.k_lengths = {83, 4, 0, 90};
      p.heads = 4;
      p.kv_heads = 2;
      change(p);
      const auto a = make_half<BFloat16>(p);
      expect_near_reference(a, run_half(a), true);
    };
    check([](Problem& p) { p.sinks = true; });
    check([](Problem& p) { p.spec.window_left = 20, p.spec.window_right = 5; });
    check([](Problem& p) { p.spec.window_left = 3, p.spec.causal = true, p.sinks = true; });
    check([](Problem& p) { p.spec.scale = -0.3f; });
    check([](Problem& p) { p.spec.scale = 0.0f, p.spec.causal = true; });
    check([](Problem& p) { p.spec.scale = 1e-4f, p.spec.causal = true; });
    check([](Problem& p) { p.k_lengths = p.q_lengths, p.interleaved = true, p.kv_heads = 4; });
    check([](Problem& p) { p.spec.softcap = 2.0f; });
    check([](Problem& p) { p.spec.softcap = 2.0f, p.spec.causal = true, p.spec.scale = -0.3f; });
    check([](Problem& p) { p.alibi = true, p.spec.causal = true; });
    check([](Problem& p) { p.relative = true; });
    check([](Problem& p) { p.spec.dropout = 0.2f, p.spec.dropout_key = RandomKey{3, 4}; });
    check([](Problem& p) { p.bias = {true, true, true, true}; });
    check([](Problem& p) { p.bias = {false, false, true, true}, p.hiding_bias = true; });
    check([](Problem& p) { p.bias = {true, false, false, true}, p.spec.causal = p.keys_outer = true; });
    check([](Problem& p) { p.mask = {true, true, true, true}; });
    check([](Problem& p) { p.mask = {false, false, true, true}, p.spec.scale = 1e-4f; });
    check([](Problem& p) { p.blocks = Problem::Blocks::kPerHead, p.spec.causal = true; });
    check([](Problem& p) { p.blocks = Problem::Blocks::kPerSequence, p.spec.window_left = 30; });
  });
}

// Sizes and options in any combination, but those that bf16 kernels decline.
TEST(PairAttention, EqualsFloat64OnRandomCombinations) {
  with_every_kernel([](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    for (int number = 0; number < 60; ++number) {
      Problem p = random_problem(number);
      if (p.spec.score != Score::kScaledDot && p.spec.score != Score::kDot) {
        p.spec.score = Score::kScaledDot;
        p.spec.scale.reset();
      }
      if (p.scales) p.spec.scale.reset();
      p.scales = p.batched = false;
      const auto a = make_half<BFloat16>(p);
      expect_near_reference(a, run_half(a), true);
      if (HasFatalFailure()) return;
    }
  });
}

// A query that sees one key of a tile must not read weights of other queries' runs: whatever the block mask,
// the bits are those of the same mask as booleans.
TEST(PairAttention, BlockMasksHaveTheBitsOfTheSameBooleans) {
  with_every_kernel([](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    for (const int64_t length : {64, 130, 300}) {
      Problem p = square(length, 32);
      p.heads = 2;
      p.kv_heads = 2;
      p.blocks = Problem::Blocks::kPerHead;
      auto a = make_half<BFloat16>(p);
      const Results blocks = run_half(a);
      std::vector<uint8_t> bits(static_cast<size_t>(2 * length * length));
      const reference::Attention r = make_reference(a.wide, 0);
      for (int64_t h = 0; h < 2; ++h) {
        for (int64_t i = 0; i < length * length; ++i)
          bits[static_cast<size_t>(h * length * length + i)] = r.allowed(h, i / length, i % length);
      }
      a.inputs.rest.blocks = {};
      a.inputs.rest.mask = {bits.data(), {1, 2, length, length}, {0, length * length, length, 1}};
      const Results mask = run_half(a);
      expect_same_bits(blocks.out, mask.out, "out");
      expect_same_bits(blocks.lse, mask.lse, "lse");
      expect_same_bits(blocks.dq, mask.dq, "dq");
      expect_same_bits(blocks.dk, mask.dk, "dk");
      expect_same_bits(blocks.dv, mask.dv, "dv");
    }
  });
}

TEST(PairAttention, LargeScoresStayFinite) {
  with_every_kernel([](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    Problem p = square(65, 64);
    p.spec.scale = 100.0f;  // scores up to about 4000
    const auto a = make_half<BFloat16>(p);
    const Results r = run_half(a);
    for (const Tensor* x : {&r.out, &r.dq, &r.dk, &r.dv}) {
      const Tensor wide = x->to(DType::kF32);
      for (const float value : wide.span()) ASSERT_TRUE(std::isfinite(value));
    }
  });
}

TEST(PairAttention, SameBitsForAnyNumberOfThreadsPackedOrAlone) {
  Problem p = square(300, 32);  // a key chunk is 512 keys: the last sequence has two
  p.q_lengths = {300, 40, 90};
  p.k_lengths = {300, 90, 600};
  p.heads = 2;
  p.spec.causal = true;
  const auto a = make_half<BFloat16>(p);
  with_every_kernel([&](const std::string& kernel) {
    const int threads = get_num_threads();
    set_num_threads(1);
    const Results one = run_half(a);
    for (const int n : {2, 3, 8}) {
      set_num_threads(n);
      expect_same_results(run_half(a), one, kernel);
    }
    set_num_threads(threads);
    for (int64_t n = 0; n < 3; ++n) {
      const int64_t q0 = a.wide.q_offsets.begin(n), q1 = a.wide.q_offsets.end(n);
      const int64_t k0 = a.wide.k_offsets.begin(n), k1 = a.wide.k_offsets.end(n);
      HalfArrays<BFloat16> alone{
          a.wide, {}, a.q.rows(q0, q1), a.k.rows(k0, k1), a.v.rows(k0, k1), a.dout.rows(q0, q1), {}, {}};
      alone.wide.q_offsets = Offsets::single(q1 - q0);
      alone.wide.k_offsets = Offsets::single(k1 - k0);
      alone.inputs.q = half_view<BFloat16>(alone.q);
      alone.inputs.k = half_view<BFloat16>(alone.k);
      alone.inputs.v = half_view<BFloat16>(alone.v);
      alone.dout_view = half_view<BFloat16>(alone.dout);
      alone.inputs.rest.q_offsets = alone.wide.q_offsets;
      alone.inputs.rest.k_offsets = alone.wide.k_offsets;
      const Results r = run_half(alone);
      expect_same_bits(r.out, one.out.rows(q0, q1).clone(), "out alone, " + kernel);
      expect_same_bits(r.dq, one.dq.rows(q0, q1).clone(), "dq alone, " + kernel);
      expect_same_bits(r.dk, one.dk.rows(k0, k1).clone(), "dk alone, " + kernel);
      expect_same_bits(r.dv, one.dv.rows(k0, k1).clone(), "dv alone, " + kernel);
    }
  });
}

TEST(PairAttention, SharedGradientsHaveTheSameBitsForAnyNumberOfThreads) {
  Problem p = square(90, 16);
  p.q_lengths = {90, 40, 130};
  p.k_lengths = {90, 600, 70};
  p.heads = 4;
  p.kv_heads = 2;
  p.relative = p.alibi = p.sinks = true;
  const int threads = get_num_threads();
  for (const bool shared : {false, true}) {
    p.bias = {!shared, !shared, true, true};
    const auto a = make_half<BFloat16>(p);
    with_every_kernel([&](const std::string& kernel) {
      set_num_threads(1);
      const Results one = run_half(a);
      for (const int n : {2, 3, 8}) {
        set_num_threads(n);
        const Results many = run_half(a);
        expect_same_bits(many.dbias, one.dbias, "dbias, " + kernel);
        expect_same_bits(many.dtable, one.dtable, "dtable, " + kernel);
        expect_same_bits(many.dslopes, one.dslopes, "dslopes, " + kernel);
        expect_same_bits(many.dsinks, one.dsinks, "dsinks, " + kernel);
        expect_same_bits(many.dq, one.dq, "dq, " + kernel);
        expect_same_bits(many.dk, one.dk, "dk, " + kernel);
      }
      set_num_threads(threads);
    });
  }
}

// In bands of queries and chunks of keys (bias_bands.hpp), which add up dK and dV before they are rounded.
TEST(PairAttention, TheGradientOfABiasThatHeadsShareIsSummedInBands) {
  Problem p = square(16, 16);
  p.q_lengths = {530, 0, 40};
  p.k_lengths = {520, 7, 30};
  p.heads = 2;
  p.bias = {false, false, true, true};
  p.spec.causal = true;
  const int threads = get_num_threads();
  const auto a = make_half<BFloat16>(p);
  with_every_kernel([&](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    set_num_threads(1);
    const Results one = run_half(a);
    expect_near_reference(a, one, true);
    for (const int n : {2, 3, 8}) {
      set_num_threads(n);
      expect_same_results(run_half(a), one, kernel);
    }
    set_num_threads(threads);
  });
}

TEST(PairAttention, ObserversSeeTheWeightsAndChangeNothing) {
  Problem p = square(150, 32);
  p.heads = 2;
  p.spec.causal = true;
  p.sinks = true;
  const auto a = make_half<BFloat16>(p);
  with_every_kernel([&](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    const Results plain = run_half(a, false);
    Tensor out = Tensor::zeros(plain.out.shape(), DType::kBF16), lse = Tensor::zeros(plain.lse.shape());
    Insight seen;
    const Observers all = observe::entropy | observe::max | observe::key_mass | observe::top_k(3);
    attention_forward(a.inputs, p.spec, half_view<BFloat16>(out), lse.data(), all, &seen);
    expect_same_bits(out, plain.out, "out");
    expect_same_bits(lse, plain.lse, "lse");
    reference::Attention r = make_reference(a.wide, 0);
    r.forward();
    std::vector<double> mass(static_cast<size_t>(150 * p.heads));
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < 150; ++i) {
        double most = 0, entropy = 0, rest = 1;
        for (int64_t j = 0; j < 150; ++j) {
          const double weight = r.weights[static_cast<size_t>((h * 150 + i) * 150 + j)];
          mass[static_cast<size_t>(j * p.heads + h)] += weight;
          most = std::max(most, weight);
          rest -= weight;
          if (weight > 0) entropy -= weight * std::log(weight);
        }
        if (rest > 1e-12) entropy -= rest * std::log(rest);
        // Weights differ by 1e-5 relative (coarse exp2 and float32 sums); entropies by that times log.
        EXPECT_NEAR(static_cast<double>(seen.max_weight.data()[i * p.heads + h]), most, 2e-5) << i;
        EXPECT_NEAR(static_cast<double>(seen.top_k_weights.data()[(i * p.heads + h) * 3]), most, 2e-5) << i;
        EXPECT_NEAR(static_cast<double>(seen.entropy.data()[i * p.heads + h]), entropy, 1e-4) << i;
      }
    }
    for (size_t i = 0; i < mass.size(); ++i)
      EXPECT_NEAR(static_cast<double>(seen.key_mass.data()[i]), mass[i], 1e-3);
  });
}

TEST(PairAttention, NanReachesOnlyTheRowsThatSeeIt) {
  Problem p = square(90, 16);
  p.spec.causal = true;
  auto a = make_half<BFloat16>(p);
  a.v.data<BFloat16>()[70 * 16 + 3] = BFloat16(NAN);
  a.k.data<BFloat16>()[80 * 16 + 2] = BFloat16(NAN);
  with_every_kernel([&](const std::string& kernel) {
    const Tensor out = run_half(a, false).out.to(DType::kF32);
    for (int64_t i = 0; i < 90; ++i) {
      for (int64_t c = 0; c < 16; ++c) {
        const bool want = i >= 80 || (i >= 70 && c == 3);
        ASSERT_EQ(std::isnan(out.data()[i * 16 + c]), want) << kernel << " row " << i << " column " << c;
      }
    }
  });
}

TEST(PairAttention, NanBehindAMaskStaysThere) {
  Problem p = square(90, 16);
  auto a = make_half<BFloat16>(p);
  a.v.data<BFloat16>()[70 * 16 + 3] = BFloat16(NAN);
  std::vector<uint8_t> mask(90 * 90, 1);
  std::vector<float> bias(90 * 90, 0.0f);
  for (size_t i = 0; i < 60; ++i) {
    mask[i * 90 + 70] = 0;
    bias[i * 90 + 70] = -INFINITY;
  }
  for (const bool hidden_by_bias : {false, true}) {
    a.inputs.rest.mask = {hidden_by_bias ? nullptr : mask.data(), {1, 1, 90, 90}, {0, 0, 90, 1}};
    a.inputs.rest.bias = {hidden_by_bias ? bias.data() : nullptr, {1, 1, 90, 90}, {0, 0, 90, 1}};
    with_every_kernel([&](const std::string& kernel) {
      const Tensor out = run_half(a, false).out.to(DType::kF32);
      for (int64_t i = 0; i < 90; ++i) {
        for (int64_t c = 0; c < 16; ++c)
          ASSERT_EQ(std::isnan(out.data()[i * 16 + c]), i >= 60 && c == 3) << kernel << " " << i << " " << c;
      }
    });
  }
}

TEST(PairAttention, FastPrecisionServesFloat32) {
  Problem p = square(100, 32);
  p.heads = 2;
  p.sinks = true;
  p.spec.precision = Precision::kFast;
  const auto a = make_half<BFloat16>(p);  // rounding bf16 values again changes nothing: the same tolerance
  with_every_kernel([&](const std::string& kernel) {
    SCOPED_TRACE(kernel);
    expect_near_reference(a, run_engine(a.wide), true);
    const Results half = run_half(a, false);
    expect_same_bits(run_engine(a.wide, false).out.to(DType::kBF16), half.out, "out");
  });
}

}  // namespace
}  // namespace fovea::testing
