// NaN and ∞ in q, k, v and dout: they reach what sees them, in outputs and gradients, and nothing else
// changes by a bit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "fovea/attention/plan.hpp"
#include "fovea/base/cpu.hpp"
#include "tests/attention/half_problem.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/use_isa.hpp"

namespace fovea::testing {
namespace {

struct Place {
  char array;  // 'q', 'k', 'v' or 'o', the gradient of the output
  int64_t n, t, h, c;
};

std::string describe(const std::vector<Place>& places) {
  std::string text;
  for (const Place& at : places) text += fmt::format(" {}[{}: {}, {}, {}]", at.array, at.n, at.t, at.h, at.c);
  return text;
}

// Up to three places, anywhere in the problem; none in an empty array.
std::vector<Place> random_places(const Arrays& a, Random& random) {
  std::vector<Place> places;
  for (uint64_t count = 1 + random.below(3); count-- > 0;) {
    const char array = "qkvo"[random.below(4)];
    const bool of_keys = array == 'k' || array == 'v';
    const Offsets& offsets = of_keys ? a.k_offsets : a.q_offsets;
    if (offsets.count() == 0) continue;
    const auto pick = [&](int64_t below) {
      return static_cast<int64_t>(random.below(static_cast<uint64_t>(below)));
    };
    const int64_t n = pick(offsets.count());
    if (offsets.length(n) == 0) continue;
    const bool values = array == 'v' || array == 'o';
    places.push_back({array, n, pick(offsets.length(n)), pick(of_keys ? a.problem.kv_heads : a.problem.heads),
                      pick(values ? a.problem.dv : a.problem.d)});
  }
  return places;
}

template <class T>
void put(const HeadsView<const T>& x, const Offsets& offsets, const Place& at, float value) {
  const int64_t first = x.sequence_stride != 0 ? at.n * x.sequence_stride : offsets.begin(at.n) * x.stride(0);
  const_cast<T*>(x.data)[first + at.t * x.stride(0) + at.h * x.stride(1) + at.c] = T(value);
}

template <class T, class Inputs>
void put(const Inputs& in, const HeadsView<const T>& dout, const Arrays& a, const Place& at, float value) {
  if (at.array == 'q') put<T>(in.q, a.q_offsets, at, value);
  if (at.array == 'k') put<T>(in.k, a.k_offsets, at, value);
  if (at.array == 'v') put<T>(in.v, a.k_offsets, at, value);
  if (at.array == 'o') put<T>(dout, a.q_offsets, at, value);
}

// Which weights, and which score gradients, of a query and head depend on a spoilt number; `out`: its output.
struct Reached {
  std::vector<bool> weights, scores, out;
};
Reached rows_reached(const Arrays& a, const std::vector<Place>& places, int64_t n,
                     const reference::Attention& r) {
  const int64_t heads = a.problem.heads, group = heads / a.problem.kv_heads;
  const auto rows = static_cast<size_t>(r.lq * heads);
  Reached reached{std::vector<bool>(rows), std::vector<bool>(rows), std::vector<bool>(rows)};
  for (int64_t i = 0; i < r.lq; ++i) {
    for (int64_t h = 0; h < heads; ++h) {
      bool weights = false, out = false, gradient = false;
      for (const Place& at : places) {
        if (at.n != n) continue;
        if (at.array == 'q') weights = weights || (at.t == i && at.h == h);
        if (at.array == 'o') gradient = gradient || (at.t == i && at.h == h);
        const bool seen = (at.array == 'k' || at.array == 'v') && at.h == h / group && r.sees(h, i, at.t);
        if (at.array == 'k') weights = weights || seen;
        if (at.array == 'v') out = out || seen;
      }
      const auto row = static_cast<size_t>(i * heads + h);
      reached.weights[row] = weights || gradient;
      reached.scores[row] = weights || gradient || out;
      reached.out[row] = weights || out;
    }
  }
  return reached;
}

// What a row of results should be: untouched, or with a NaN in it; or either (∞, and dropped weights).
void expect_row(const Tensor& clean, const Tensor& got, int64_t row, bool reached, bool must,
                const std::string& what) {
  const int64_t width = got.numel() / std::max<int64_t>(1, got.dim(0) * got.dim(1));
  bool nan = false, same = true;
  for (int64_t c = row * width; c < (row + 1) * width; ++c) {
    nan = nan || std::isnan(got.data()[c]);
    same = same && std::bit_cast<uint32_t>(got.data()[c]) == std::bit_cast<uint32_t>(clean.data()[c]);
  }
  if (!reached) {
    EXPECT_TRUE(same) << what << " row " << row << " is touched";
  }
  if (reached && must) {
    EXPECT_TRUE(nan) << what << " row " << row << " is not";
  }
}

void expect_reach(const Arrays& a, const std::vector<Place>& places, bool must, const Results& clean,
                  const Results& got) {
  const Problem& p = a.problem;
  const int64_t group = p.heads / p.kv_heads;
  for (int64_t n = 0; n < a.q_offsets.count(); ++n) {
    const reference::Attention r = make_reference(a, n);
    const Reached rows = rows_reached(a, places, n, r);
    for (int64_t i = 0; i < r.lq; ++i) {
      for (int64_t h = 0; h < p.heads; ++h) {
        const auto row = static_cast<size_t>(i * p.heads + h);
        bool sees = false;
        for (int64_t j = 0; j < r.lk; ++j) sees = sees || r.sees(h, i, j);
        const int64_t at = (a.q_offsets.begin(n) + i) * p.heads + h;
        expect_row(clean.out, got.out, at, rows.out[row] && sees, must, "out");
        expect_row(clean.dq, got.dq, at, rows.scores[row] && sees, must, "dq");
      }
    }
    for (int64_t j = 0; j < r.lk; ++j) {
      for (int64_t g = 0; g < p.kv_heads; ++g) {
        bool weights = false, scores = false;
        for (int64_t i = 0; i < r.lq; ++i) {
          for (int64_t h = g * group; h < (g + 1) * group; ++h) {
            const auto row = static_cast<size_t>(i * p.heads + h);
            weights = weights || (rows.weights[row] && r.sees(h, i, j));
            scores = scores || (rows.scores[row] && r.sees(h, i, j));
          }
        }
        const int64_t at = (a.k_offsets.begin(n) + j) * p.kv_heads + g;
        expect_row(clean.dk, got.dk, at, scores, must, "dk");
        expect_row(clean.dv, got.dv, at, weights, must, "dv");
      }
    }
    if (p.bias != std::vector<bool>(4, true)) continue;
    const ScoresView<const float>& bias = a.inputs.bias;
    for (int64_t h = 0; h < p.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        for (int64_t j = 0; j < r.lk; ++j) {
          if (rows.scores[static_cast<size_t>(i * p.heads + h)] && r.sees(h, i, j)) continue;
          const int64_t at =
              n * bias.stride(0) + h * bias.stride(1) + i * bias.stride(2) + j * bias.stride(3);
          EXPECT_EQ(clean.dbias.data()[at], got.dbias.data()[at])
              << "dbias " << n << " " << h << " " << i << " " << j;
        }
      }
    }
  }
}

// The problem with NaN, or an infinity, in some places, beside itself without.
void expect_kept_apart(Problem p, uint64_t seed) {
  Random random(seed);
  const Arrays clean = make_arrays(p), dirty = make_arrays(p);
  const std::vector<Place> places = random_places(clean, random);
  SCOPED_TRACE(p.describe() + describe(places));
  const uint64_t kind = random.below(4);  // half the time NaN
  const float value = kind < 2 ? NAN : kind == 2 ? INFINITY : -INFINITY;
  for (const Place& at : places) put<float>(dirty.inputs, dirty.dout_view, dirty, at, value);
  expect_reach(clean, places, kind < 2 && p.spec.dropout == 0.0f, run_engine(clean), run_engine(dirty));
}

Results widened(Results r) {
  for (Tensor* x : {&r.out, &r.dq, &r.dk, &r.dv}) *x = x->to(DType::kF32);
  return r;
}

void expect_kept_apart_in_pairs(Problem p, uint64_t seed) {
  Random random(seed);
  const auto clean = make_half<BFloat16>(p), dirty = make_half<BFloat16>(p);
  const std::vector<Place> places = random_places(clean.wide, random);
  SCOPED_TRACE(p.describe() + describe(places));
  const float value = random.below(2) == 0 ? NAN : INFINITY;
  for (const Place& at : places) put<BFloat16>(dirty.inputs, dirty.dout_view, dirty.wide, at, value);
  expect_reach(clean.wide, places, std::isnan(value) && p.spec.dropout == 0.0f, widened(run_half(clean)),
               widened(run_half(dirty)));
}

TEST(SpoiltNumbers, ReachOnlyWhatSeesThem) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (int number = 0; number < 150; ++number) {
      expect_kept_apart(random_problem(number), static_cast<uint64_t>(number));
      if (::testing::Test::HasFailure()) return;
    }
    for (int number = 0; number < 10; ++number) {  // several tasks of keys and blocks of queries
      Problem p = random_problem(number);
      p.q_lengths = p.k_lengths = {number % 2 == 0 ? 300 : 515};
      p.blocks = Problem::Blocks::kNone;
      expect_kept_apart(p, static_cast<uint64_t>(number));
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// Runs the body with each of the bf16 kernels.
void with_every_pair_kernel(const std::function<void()>& body) {
  const Isa before = current_isa();
  std::vector<std::pair<Isa, const char*>> kernels;
  for (const Isa isa : available_isas()) {
    for (const char* name : {"software_bf16", "software_tiles"}) kernels.emplace_back(isa, name);
  }
  if (cpu_features().avx512_bf16 && before == Isa::kAvx512) kernels.emplace_back(before, "avx512_bf16");
  for (const auto& [isa, name] : kernels) {
    const UseIsa use(isa);
    set_attention_kernel(name);
    SCOPED_TRACE(std::string(name) + " of " + to_string(isa));
    body();
  }
  set_attention_kernel("");
}

TEST(SpoiltNumbers, ReachOnlyWhatSeesThemInPairs) {
  with_every_pair_kernel([] {
    for (int number = 0; number < 60 && !::testing::Test::HasFailure(); ++number)
      expect_kept_apart_in_pairs(random_problem(number), static_cast<uint64_t>(number));
    Problem p = random_problem(3);
    p.q_lengths = p.k_lengths = {300};
    p.blocks = Problem::Blocks::kNone;
    expect_kept_apart_in_pairs(p, 3);
  });
}

// A key's value is NaN, each key's in turn: before, among and after those that both halves of a panel of
// queries see. What does not see it keeps the order of its sums.
Problem window_problem() {
  Problem p;
  p.q_lengths = p.k_lengths = {70};
  p.spec.causal = true;
  p.spec.window_left = 17;
  return p;
}

TEST(SpoiltNumbers, InAWindowsValueReachOnlyWhatSeesThem) {
  const Problem p = window_problem();
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    const Arrays clean = make_arrays(p);
    const Results want = run_engine(clean);
    for (int64_t j = 0; j < 70 && !::testing::Test::HasFailure(); ++j) {
      SCOPED_TRACE(std::string(to_string(isa)) + ", key " + std::to_string(j));
      const Arrays dirty = make_arrays(p);
      const Place at{'v', 0, j, 0, 3};
      put<float>(dirty.inputs, dirty.dout_view, dirty, at, NAN);
      expect_reach(clean, {at}, true, want, run_engine(dirty));
    }
  }
}

// Equal weights, and large values that cancel two keys later: what they round off the small ones depends on
// the order within a pair of keys, and stays.
TEST(SpoiltNumbers, InAWindowsValueReachOnlyWhatSeesThemInPairs) {
  Problem p = window_problem();
  p.spec.scale = 0.0f;
  const auto make = [&p] {
    auto arrays = make_half<BFloat16>(p);
    Random random(7);
    for (int64_t j = 0; j < 70; ++j) {
      for (int64_t c = 0; c < p.dv; ++c) {
        const float value = j % 2 == 0   ? static_cast<float>(random.normal())
                            : j % 4 == 1 ? 0x1p20f
                                         : -0x1p20f;
        put<BFloat16>(arrays.inputs, arrays.dout_view, arrays.wide, {'v', 0, j, 0, c}, value);
      }
    }
    return arrays;
  };
  with_every_pair_kernel([&] {
    const auto clean = make();
    const Results want = widened(run_half(clean));
    for (int64_t j = 0; j < 70 && !::testing::Test::HasFailure(); ++j) {
      SCOPED_TRACE("key " + std::to_string(j));
      const auto dirty = make();
      const Place at{'v', 0, j, 0, 3};
      put<BFloat16>(dirty.inputs, dirty.dout_view, dirty.wide, at, NAN);
      expect_reach(clean.wide, {at}, true, want, widened(run_half(dirty)));
    }
  });
}

TEST(SpoiltNumbers, InABiasReachOnlyTheirQuery) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    Problem p;
    p.q_lengths = p.k_lengths = {90};
    p.bias = std::vector<bool>(4, true);
    p.spec.causal = true;
    const Arrays clean = make_arrays(p), dirty = make_arrays(p);
    const_cast<float*>(dirty.inputs.bias.data)[50 * 90 + 20] = NAN;
    const Results want = run_engine(clean), got = run_engine(dirty);
    for (int64_t i = 0; i < 90; ++i) {
      expect_row(want.out, got.out, i, i == 50, true, "out");
      expect_row(want.dq, got.dq, i, i == 50, true, "dq");
      expect_row(want.dk, got.dk, i, i <= 50, true, "dk");
      expect_row(want.dv, got.dv, i, i <= 50, true, "dv");
    }
  }
}

TEST(SpoiltNumbers, ReachOnlyTheMassOfKeysThatTheySee) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    Problem p;
    p.q_lengths = p.k_lengths = {100};
    p.spec.causal = true;
    p.spec.window_left = 20;
    const Arrays clean = make_arrays(p), dirty = make_arrays(p);
    put<float>(dirty.inputs.q, dirty.q_offsets, {'q', 0, 50, 0, 3}, NAN);
    const auto mass_of = [](const Arrays& a) {
      const Results r = run_engine(a, false);
      Tensor out = Tensor::zeros({100, 1, 8}), lse = Tensor::zeros({100, 1});
      Observers observers;
      observers.key_mass = true;
      Insight seen;
      attention_forward(a.inputs, a.problem.spec, contiguous_view<float, 3>(out.data(), {100, 1, 8}),
                        lse.data(), observers, &seen);
      expect_same_bits(out.rows(0, 50), r.out.rows(0, 50), "output");
      return seen.key_mass;
    };
    const Tensor want = mass_of(clean), got = mass_of(dirty);
    for (int64_t j = 0; j < 100; ++j) {
      if (j >= 30 && j <= 50) {
        EXPECT_TRUE(std::isnan(got.data()[j])) << to_string(isa) << " " << j;
      } else {
        EXPECT_EQ(got.data()[j], want.data()[j]) << to_string(isa) << " " << j;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::testing
