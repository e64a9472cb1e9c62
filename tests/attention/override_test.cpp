// Heads overridden from outside, and key mass estimated from a sample.
#include <gtest/gtest.h>

#include <cmath>

#include "fovea/attention/half.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/error.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

constexpr HeadOverride kHeads[] = {HeadOverride::kUniform, HeadOverride::kNone,     HeadOverride::kFrozen,
                                   HeadOverride::kOff,     HeadOverride::kPermuted, HeadOverride::kNone};

Problem six_heads() {
  Problem p;
  p.q_lengths = {70, 20};
  p.k_lengths = {90, 20};
  p.heads = 6;
  p.kv_heads = 3;
  p.d = p.dv = 16;
  p.spec.causal = true;
  p.spec.softcap = 3.0f;
  p.sinks = p.alibi = true;
  p.mask = {true, false, true, true};
  return p;
}

struct Overridden {
  Arrays arrays;
  std::vector<float> log_weights;
  std::vector<int64_t> permutation;
};

// `arrays` must not move afterwards: its inputs point into the struct.
void override_all(Overridden& o, std::span<const HeadOverride> heads) {
  Random random(11);
  for (int64_t i = 0; i < 6 * 70 * 90; ++i) o.log_weights.push_back(static_cast<float>(random.normal()));
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t j = 0; j < o.arrays.k_offsets.length(n); ++j)
      o.permutation.push_back((j * 7 + 3) % o.arrays.k_offsets.length(n));
  }
  o.arrays.inputs.override_heads = {
      heads, o.permutation,
      broadcast_scores<const float>(o.log_weights.data(), {1, 6, 70, 90}, {2, 6, 70, 90})};
}

// The reference with every head's own scores put in place.
reference::Attention reference_of(const Overridden& o, int64_t n, std::span<const HeadOverride> heads) {
  reference::Attention r = make_reference(o.arrays, n);
  const auto plain = std::make_shared<reference::Attention>(r);
  const int64_t k0 = o.arrays.k_offsets.begin(n);
  r.scales.assign(6, 0.0);  // all scores come through the bias
  r.softcap = 0;
  r.bias = nullptr;
  r.full_bias = [&o, plain, heads, k0](int64_t h, int64_t i, int64_t j) -> double {
    const HeadOverride what = heads[static_cast<size_t>(h)];
    if (what == HeadOverride::kUniform) return 0;
    if (what == HeadOverride::kOff) return -INFINITY;
    if (what == HeadOverride::kFrozen)
      return static_cast<double>(o.log_weights[static_cast<size_t>((h * 70 + i) * 90 + j)]);
    const int64_t scored = what == HeadOverride::kPermuted ? o.permutation[static_cast<size_t>(k0 + j)] : j;
    const double s = plain->raw(h, i, scored) * plain->scale;
    return plain->softcap * std::tanh(s / plain->softcap) + plain->bias(h, i + plain->lk - plain->lq - j);
  };
  for (size_t h = 0; h < 6; ++h) {
    const bool own = heads[h] == HeadOverride::kNone || heads[h] == HeadOverride::kPermuted;
    if (!own) r.sinks[h] = -1e30;
  }
  return r;
}

TEST(Override, PutsWeightsInPlaceOfAHead) {
  for (const Isa isa : available_isas()) {
    const Isa before = current_isa();
    set_isa(isa);
    Overridden o{make_arrays(six_heads()), {}, {}};
    override_all(o, kHeads);
    const AttentionResult got = attention(o.arrays.inputs, o.arrays.problem.spec, observe::key_mass);
    const std::vector<int64_t> queries{0, 30, 69, 75};
    const Ragged rows = attention_rows(o.arrays.inputs, o.arrays.problem.spec, queries);
    for (int64_t n = 0; n < 2; ++n) {
      reference::Attention r = reference_of(o, n, kHeads);
      r.forward();
      for (int64_t i = 0; i < r.lq; ++i) {
        for (int64_t h = 0; h < 6; ++h) {
          const int64_t row = (o.arrays.q_offsets.begin(n) + i) * 6 + h;
          for (int64_t c = 0; c < 16; ++c) {
            ASSERT_NEAR(got.out.data()[row * 16 + c], r.out[static_cast<size_t>((i * 6 + h) * 16 + c)], 1e-5)
                << "head " << h << " row " << i;
          }
          if (kHeads[h] == HeadOverride::kOff) {
            EXPECT_EQ(got.lse.data()[row], -INFINITY);
          }
        }
      }
      for (size_t m = 0; m < queries.size(); ++m) {
        const int64_t i = queries[m] - o.arrays.q_offsets.begin(n);
        if (i < 0 || i >= r.lq) continue;
        for (int64_t j = 0; j < r.lk; ++j) {
          for (int64_t h = 0; h < 6; ++h) {
            EXPECT_NEAR(rows.tokens.data()[(rows.offsets.begin(static_cast<int64_t>(m)) + j) * 6 + h],
                        r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)], 1e-5)
                << "head " << h << " key " << j;
          }
        }
      }
    }
    set_isa(before);
  }
}

TEST(Override, HasTheGradientOfWhatWasPutInPlace) {
  HeadOverride heads[6];
  for (int h = 0; h < 6; ++h)
    heads[h] = kHeads[h] == HeadOverride::kPermuted ? HeadOverride::kUniform : kHeads[h];
  Overridden o{make_arrays(six_heads()), {}, {}};
  override_all(o, heads);
  o.arrays.problem.sinks = o.arrays.problem.alibi = false;  // asks for no gradients of theirs
  const Results got = run_engine(o.arrays);
  for (int64_t n = 0; n < 2; ++n) {
    o.arrays.problem.sinks = o.arrays.problem.alibi = true;
    reference::Attention r = reference_of(o, n, heads);
    r.forward();
    std::vector<double> dout;
    const int64_t q0 = o.arrays.q_offsets.begin(n), k0 = o.arrays.k_offsets.begin(n);
    for (int64_t i = 0; i < r.lq * 96; ++i)
      dout.push_back(static_cast<double>(o.arrays.dout.data()[q0 * 96 + i]));
    r.backward(dout);
    for (int64_t i = 0; i < r.lk * 48; ++i)
      ASSERT_NEAR(got.dv.data()[k0 * 48 + i], r.dv_out[static_cast<size_t>(i)], 2e-5) << i;
    for (int64_t t = 0; t < r.lq; ++t) {
      for (int64_t h = 0; h < 6; ++h) {
        double most = 0;
        for (int64_t c = 0; c < 16; ++c)
          most = std::max(most, std::abs(static_cast<double>(got.dq.data()[((q0 + t) * 6 + h) * 16 + c])));
        if (heads[h] != HeadOverride::kNone) {
          EXPECT_EQ(most, 0.0) << "head " << h;
        }
      }
    }
  }
}

TEST(Override, NamesWhatIsWrong) {
  const Arrays a = make_arrays(six_heads());
  AttentionInputs in = a.inputs;
  const HeadOverride one[] = {HeadOverride::kOff};
  in.override_heads.heads = one;
  EXPECT_ERROR(attention(in), ArgumentError,
               "[attention_forward] expected an override for each of the 6 heads, got 1");
  in.override_heads.heads = kHeads;
  EXPECT_ERROR(attention(in), ArgumentError,
               "[attention_forward] expected log weights for frozen heads, got none");
  Overridden o{a, {}, {}};
  override_all(o, kHeads);
  o.permutation[95] = 20;
  EXPECT_ERROR(attention(o.arrays.inputs), ArgumentError,
               "[attention_forward] expected a permutation within the 20 keys of sequence 1, got 20");
  o.permutation[95] = 0;
  float lse[6 * 90] = {};
  EXPECT_ERROR(attention_backward(o.arrays.inputs, {}, a.dout_view, lse, a.dout_view, {}), ArgumentError,
               "[attention_backward] expected no permuted heads, which have no gradient");
  EXPECT_ERROR(attention_backward(o.arrays.inputs, {}, a.dout_view, lse, a.dout_view, {.dsinks = lse}),
               ArgumentError,
               "[attention_backward] expected no gradients of biases, sinks or scales with overridden heads");
}

TEST(SampledKeyMass, FindsTheMassWithinItsError) {
  Problem p;
  p.q_lengths = {400, 1, 30};
  p.k_lengths = {300, 5, 40};
  p.heads = 2;
  const Arrays a = make_arrays(p);
  const AttentionResult full = attention(a.inputs, p.spec, observe::key_mass);
  // One sample serves all keys, whose errors hang together by the eight numbers of a query: about 2·8 degrees
  // of freedom a draw, 480 in 30, so that the mean square has a standard deviation of √(2 / 480) = 0.065.
  double far = 0, squares = 0;
  SampledKeyMass some;
  for (uint64_t draw = 0; draw < 30; ++draw) {
    some = sampled_key_mass(a.inputs, p.spec, 100, {3, draw * 10});
    for (int64_t i = 0; i < 300 * 2; ++i) {
      const double error = static_cast<double>(some.mass.data()[i] - full.seen.key_mass.data()[i]);
      const double z = error / static_cast<double>(some.standard_error.data()[i]);
      far = std::max(far, std::abs(z));
      squares += z * z;
    }
  }
  EXPECT_LT(far, 8.0);  // skewed weights reach further than normal ones
  EXPECT_NEAR(squares / (600 * 30), 1.0, 0.3);
  // Sequences of at most 100 queries are read whole: no error but rounding.
  for (int64_t i = 300 * 2; i < 345 * 2; ++i) {
    EXPECT_NEAR(some.mass.data()[i], full.seen.key_mass.data()[i], 1e-4);
    EXPECT_EQ(some.standard_error.data()[i], 0.0f);
  }
  EXPECT_ERROR(sampled_key_mass(a.inputs, p.spec, 1, {}), ArgumentError,
               "[sampled_key_mass] expected at least 2 samples, got 1");
}

TEST(SampledKeyMass, OfHalfInputsIsThatOfTheWidenedOnes) {
  Problem p;
  p.q_lengths = {40};
  p.k_lengths = {30};
  const Arrays a = make_arrays(p);
  const Tensor q = a.q.to(DType::kBF16), k = a.k.to(DType::kBF16), v = a.v.to(DType::kBF16);
  const auto half = [](const Tensor& x) {
    return contiguous_view<const BFloat16, 3>(x.data<BFloat16>(), {x.dim(0), x.dim(1), x.dim(2)});
  };
  const auto wide = [](const Tensor& x) {
    return contiguous_view<const float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
  };
  HalfAttentionInputs<BFloat16> in{half(q), half(k), half(v), {}};
  in.rest.q_offsets = a.q_offsets;
  in.rest.k_offsets = a.k_offsets;
  const Tensor q32 = q.to(DType::kF32), k32 = k.to(DType::kF32), v32 = v.to(DType::kF32);
  AttentionInputs widened{wide(q32), wide(k32), wide(v32), a.q_offsets, a.k_offsets};
  const AttentionResult full = attention(widened, p.spec);
  const SampledKeyMass x = sampled_key_mass(in, p.spec, 8, {1, 2});
  const SampledKeyMass y = sampled_key_mass(widened, p.spec, 8, {1, 2});
  expect_same_bits(x.mass, y.mass, "mass");
  expect_same_bits(x.standard_error, y.standard_error, "standard error");
}

}  // namespace
}  // namespace fovea::testing
