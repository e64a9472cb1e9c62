// A few queries on many keys in plain arrays: float64 on every instruction set, layout and width, forward,
// and backward from what forward wrote.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "fovea/attention/attention.hpp"
#include "fovea/attention/plan.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/half_problem.hpp"
#include "tests/support/use_isa.hpp"

namespace fovea::testing {
namespace {

Problem few_problem() {
  Problem p;
  p.q_lengths = {1, 8, 3};
  p.k_lengths = {64, 131, 600};
  p.heads = 4, p.kv_heads = 2;
  p.d = 32, p.dv = 48;
  p.seed = 77;
  return p;
}

std::vector<Problem> problems() {
  std::vector<Problem> all;
  const auto add = [&](const std::function<void(Problem&)>& change) {
    Problem p = few_problem();
    change(p);
    p.seed = 500 + all.size();
    all.push_back(p);
  };
  add([](Problem&) {});
  add([](Problem& p) { p.spec.causal = true; });
  add([](Problem& p) { p.spec.causal = true, p.spec.window_left = 70; });
  add([](Problem& p) { p.spec.window_left = 9, p.spec.window_right = 3; });
  add([](Problem& p) { p.alibi = p.relative = p.sinks = true; });
  add([](Problem& p) { p.spec.softcap = 2.0f, p.spec.score = Score::kDot, p.spec.scale = 0.1f; });
  add([](Problem& p) { p.spec.normalizer = Normalizer::kSoftmaxOne; });
  add([](Problem& p) { p.q_lengths = {4, 4}, p.k_lengths = {100, 100}, p.batched = true; });
  add([](Problem& p) { p.kv_heads = 4, p.q_lengths = {1, 1, 0}, p.k_lengths = {64, 1000, 70}; });
  add([](Problem& p) { p.kv_heads = 1, p.q_lengths = {8, 9, 8}, p.k_lengths = {63, 64, 65}; });
  for (const int64_t d : {16, 64, 80, 256}) {
    for (const int64_t dv : {16, 96, 128}) add([=](Problem& p) { p.d = d, p.dv = dv; });
  }
  return all;
}

TEST(FewQueries, EqualFloat64WithGradients) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const Problem& problem : problems()) {
      SCOPED_TRACE(fmt::format("{} {}", to_string(isa), problem.describe()));
      const Arrays arrays = make_arrays(problem);
      expect_equal_to_reference(arrays, run_engine(arrays));
    }
  }
}

// Outputs are rounded to T once; three rows or more on bf16 round their weights to bf16, too.
template <class T>
void expect_half_close_to_float32(double unit) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const Problem& problem : problems()) {
      SCOPED_TRACE(fmt::format("{} {}", to_string(isa), problem.describe()));
      const HalfArrays<T> a = make_half<T>(problem);
      const Results half = run_half(a, false), wide = run_engine(a.wide, false);
      double most = 0;
      for (const float x : a.wide.v.span()) most = std::max(most, static_cast<double>(std::abs(x)));
      const Tensor out = half.out.to(DType::kF32);
      for (int64_t i = 0; i < out.numel(); ++i)
        ASSERT_NEAR(out.data()[i], wide.out.data()[i], 2 * unit * most) << i;
      // Scores of d ≤ 256 products of normal numbers, scaled.
      for (int64_t i = 0; i < half.lse.numel(); ++i)
        ASSERT_NEAR(half.lse.data()[i], wide.lse.data()[i], 1e-4) << i;
    }
  }
}

TEST(FewQueries, HalfIsCloseToFloat32) {
  expect_half_close_to_float32<Float16>(0x1p-11);
  expect_half_close_to_float32<BFloat16>(0x1p-8);
}

template <class T>
void expect_bits_of_sequences_alone() {
  Problem mixed = few_problem();
  mixed.q_lengths = {1, 70, 8, 3};
  mixed.k_lengths = {64, 131, 20, 600};
  const HalfArrays<T> a = make_half<T>(mixed);
  const Results all = run_half(a, false);
  for (int64_t n = 0; n < 4; ++n) {
    const int64_t q0 = a.wide.q_offsets.begin(n), q1 = a.wide.q_offsets.end(n);
    const int64_t k0 = a.wide.k_offsets.begin(n), k1 = a.wide.k_offsets.end(n);
    const Tensor q = a.q.rows(q0, q1), k = a.k.rows(k0, k1), v = a.v.rows(k0, k1);
    const AttentionResult alone =
        attention(q, k, v, Offsets::single(q1 - q0), Offsets::single(k1 - k0), mixed.spec);
    expect_same_bits(alone.out, all.out.rows(q0, q1), fmt::format("out {}", n));
    expect_same_bits(alone.lse, all.lse.rows(q0, q1), fmt::format("lse {}", n));
  }
}

TEST(FewQueries, HaveTheBitsOfTheSequenceAlone) {
  expect_bits_of_sequences_alone<Float16>();
  expect_bits_of_sequences_alone<BFloat16>();
}

TEST(FewQueries, KeepTheirBitsUnderObserversAndThreads) {
  const Arrays arrays = make_arrays(few_problem());
  const Tensor q = arrays.q, k = arrays.k, v = arrays.v;
  const int threads = get_num_threads();
  set_num_threads(1);
  const AttentionResult plain = attention(q, k, v, arrays.q_offsets, arrays.k_offsets, {});
  for (const int n : {2, 3, 8}) {
    set_num_threads(n);
    const AttentionResult seen = attention(q, k, v, arrays.q_offsets, arrays.k_offsets, {},
                                           observe::entropy | observe::key_mass | observe::top_k(3));
    expect_same_bits(seen.out, plain.out, "out");
    expect_same_bits(seen.lse, plain.lse, "lse");
    double mass = 0;
    for (const float x : seen.seen.key_mass.span()) mass += static_cast<double>(x);
    EXPECT_NEAR(mass, static_cast<double>(q.dim(0) * q.dim(1)), 1e-3);
  }
  set_num_threads(threads);
}

// Outputs of 32 parts at most, whatever the keys and their type: not these in another form.
TEST(FewQueries, MemoryIsOfTheQueriesAndNotOfTheKeys) {
  const int64_t queries = 2, keys = 20000, heads = 2, d = 64;
  const Tensor q = Tensor::full({queries, heads, d}, 0.1), k = Tensor::full({keys, heads, d}, 0.2);
  for (const DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    const Tensor x = q.to(type), y = k.to(type);
    const Offsets one = Offsets::single(queries), many = Offsets::single(keys);
    attention(x, y, y, one, many, {});
    reset_peak_memory();
    const int64_t before = memory_stats().bytes_in_use;
    attention(x, y, y, one, many, {});
    // The parts and three arrays as large as q in float32 (the pool rounds up to the next power of two), and
    // for each thread a tile's scores and rows. The keys are 5 MB in 16 bits.
    const int64_t row = queries * heads * (d + 2) * 4;
    EXPECT_LT(memory_stats().peak_bytes_in_use - before, 2 * 35 * row + get_num_threads() * 100'000)
        << to_string(type);
  }
}

// Kernels of their own serve them, unless another is asked for by name or an option needs it.
TEST(FewQueries, AreServedByKernelsOfTheirOwn) {
  Problem problem = few_problem();
  const Arrays arrays = make_arrays(problem);
  const Results few = run_engine(arrays, false);
  set_attention_kernel("float32");
  const Results many = run_engine(arrays, false);
  set_attention_kernel("");
  EXPECT_NE(std::memcmp(few.out.data(), many.out.data(), static_cast<size_t>(few.out.numel()) * 4), 0);
  problem.mask = {true, false, true, true};
  const Arrays masked = make_arrays(problem);
  expect_equal_to_reference(masked, run_engine(masked));
}

}  // namespace
}  // namespace fovea::testing
