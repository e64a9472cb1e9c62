// Lists of the strongest keys of any length, by every kind of call, against a selection by the definition.
//
// Where scores are one product of whole numbers, every kernel rounds equal ones equally and the lists must be
// the reference's, ties included. Where they are not, two keys may change places whose scores differ
// by less than rounding does: 2s of problem.hpp, s below 1e-5 at these sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "fovea/attention/double.hpp"
#include "fovea/attention/merge.hpp"
#include "fovea/attention/plan.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/decode_problem.hpp"
#include "tests/attention/half_problem.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/use_isa.hpp"

namespace fovea::testing {
namespace {

constexpr double kSwap = 2e-5;
constexpr int64_t kAbsurd = 1'000'000;

Insight see(const Arrays& a, const Observers& observers) {
  return attention(a.inputs, a.problem.spec, observers).seen;
}

Insight see_half(const HalfArrays<BFloat16>& a, const Observers& observers) {
  const Problem& p = a.wide.problem;
  Tensor out = Tensor::empty({a.wide.q_offsets.total(), p.heads, p.dv}, DType::kBF16);
  Insight seen;
  attention_forward(a.inputs, p.spec, half_view<BFloat16>(out), nullptr, observers, &seen);
  return seen;
}

// The float64 call; weights rounded to float32, so that lists of all calls read alike.
Insight see_double(const Arrays& a, const Observers& observers) {
  const Problem& p = a.problem;
  const Tensor q = a.q.to(DType::kF64), k = a.k.to(DType::kF64), v = a.v.to(DType::kF64);
  const auto view = [](const Tensor& x) {
    return contiguous_view<const double, 3>(x.data<double>(), {x.dim(0), x.dim(1), x.dim(2)});
  };
  const Tensor bias = a.bias ? a.bias.to(DType::kF64) : Tensor(),
               sinks = a.sinks ? a.sinks.to(DType::kF64) : Tensor();
  DoubleAttentionInputs in{.q = view(q), .k = view(k), .v = view(v)};
  in.rest = a.inputs;
  in.rest.sinks = {};
  in.rest.bias = {};
  if (bias) in.bias = {bias.data<double>(), a.inputs.bias.dims, a.inputs.bias.strides};
  if (sinks) in.sinks = sinks.span<double>();
  AttentionSpec spec = p.spec;
  if (spec.scale) in.scale = static_cast<double>(*spec.scale);
  spec.scale.reset();
  Tensor out = Tensor::empty({q.dim(0), p.heads, p.dv}, DType::kF64);
  Insight seen;
  attention_forward(in, spec, contiguous_view<double, 3>(out.data<double>(), {q.dim(0), p.heads, p.dv}),
                    nullptr, observers, &seen);
  seen.top_k_weights = seen.top_k_weights.to(DType::kF32);
  return seen;
}

// Row `at` of the lists.
struct List {
  const int64_t* keys;
  const float* weights;
  int64_t places;
  List(const Insight& seen, int64_t at)
      : keys(seen.top_k_keys.data<int64_t>() + at * seen.top_k_keys.dim(2)),
        weights(seen.top_k_weights.data() + at * seen.top_k_keys.dim(2)),
        places(seen.top_k_keys.dim(2)) {}
};

// That a list names the min(k, visible) strongest keys in order, with their weights, and nothing behind them.
void expect_list(const List& list, const reference::Attention& r, int64_t h, int64_t i, int64_t k,
                 double weight_error, const std::string& what) {
  const double* w = r.weights.data() + (h * r.lq + i) * r.lk;
  std::vector<bool> listed(static_cast<size_t>(r.lk));
  int64_t visible = 0;
  for (int64_t j = 0; j < r.lk; ++j) visible += r.sees(h, i, j) ? 1 : 0;
  const int64_t count = std::min(k, visible);
  double weakest = INFINITY;  // logarithm of a weight: a score, up to a constant
  for (int64_t s = 0; s < count; ++s) {
    const int64_t j = list.keys[s];
    ASSERT_TRUE(j >= 0 && j < r.lk && r.sees(h, i, j)) << "place " << s << " has key " << j << " in " << what;
    ASSERT_FALSE(listed[static_cast<size_t>(j)]) << "place " << s << " repeats " << j << " in " << what;
    listed[static_cast<size_t>(j)] = true;
    ASSERT_LE(std::log(w[j]), weakest + kSwap) << "place " << s << " in " << what;
    weakest = std::min(weakest, std::log(w[j]));
    ASSERT_NEAR(static_cast<double>(list.weights[s]), w[j], weight_error) << "place " << s << " in " << what;
  }
  for (int64_t s = count; s < list.places; ++s) {
    ASSERT_EQ(list.keys[s], -1) << "place " << s << " in " << what;
    ASSERT_EQ(list.weights[s], 0.0f) << "place " << s << " in " << what;
  }
  for (int64_t j = 0; j < r.lk; ++j) {
    if (listed[static_cast<size_t>(j)] || !r.sees(h, i, j)) continue;
    ASSERT_LE(std::log(w[j]), weakest + kSwap) << "key " << j << " left out in " << what;
  }
}

void expect_lists(const Insight& seen, const Arrays& a, int64_t k, double weight_error) {
  const int64_t longest = a.k_offsets.max_length();
  ASSERT_EQ(seen.top_k_keys.shape(),
            (Shape{a.q_offsets.total(), a.problem.heads, std::min(k, longest + 1024)}));
  for (int64_t n = 0; n < a.q_offsets.count(); ++n) {
    reference::Attention r = make_reference(a, n);
    r.forward();
    for (int64_t i = 0; i < r.lq; ++i) {
      for (int64_t h = 0; h < r.heads; ++h) {
        expect_list(List(seen, (a.q_offsets.begin(n) + i) * r.heads + h), r, h, i, k, weight_error,
                    "k " + std::to_string(k) + " row " + std::to_string(i) + " of " + a.problem.describe());
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// Grouped heads, a batch of unequal lengths, rows that see few keys or none.
Problem problem_of(int variant) {
  Problem p;
  p.q_lengths = {35, 1, 0, 20, 6};
  p.k_lengths = {300, 65, 4, 20, 0};
  p.heads = 4;
  p.kv_heads = 2;
  p.d = 16;
  p.dv = 8;
  p.seed = static_cast<uint64_t>(70 + variant);
  p.magnitude = 2.0;
  p.spec.causal = variant == 1;
  if (variant == 2) p.spec.window_left = 100, p.spec.window_right = 3, p.sinks = true;
  if (variant == 3) p.mask = {true, false, true, true};
  if (variant == 4) p.bias = {true, true, true, true}, p.hiding_bias = true, p.spec.dropout = 0.3f;
  return p;
}

constexpr int kVariants = 5;
const std::vector<int64_t> kLengths{1, 63, 64, 65, 127, 128, 129, 299, 300, 301, kAbsurd};

TEST(TopLists, AreTheStrongestKeysOfEveryRow) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (int variant = 0; variant < kVariants; ++variant) {
      const Arrays a = make_arrays(problem_of(variant));
      for (const int64_t k : kLengths) {
        expect_lists(see(a, observe::top_k(k)), a, k, 3e-5);
        if (HasFatalFailure()) return;
      }
    }
  }
  for (int variant = 0; variant < kVariants; ++variant) {
    const Arrays a = make_arrays(problem_of(variant));
    for (const int64_t k : kLengths) {
      expect_lists(see_double(a, observe::top_k(k)), a, k, 1e-6);
      if (HasFatalFailure()) return;
    }
  }
}

template <class Body>
void with_pair_kernels(const Body& body) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const char* name : {"software_bf16", "software_tiles"}) {
      set_attention_kernel(name);
      SCOPED_TRACE(std::string(name) + " of " + to_string(isa));
      body();
    }
    set_attention_kernel("");
  }
}

TEST(TopLists, AreTheStrongestKeysOfPairsToo) {
  with_pair_kernels([] {
    for (int variant = 0; variant < kVariants; ++variant) {
      const auto a = make_half<BFloat16>(problem_of(variant));
      for (const int64_t k : kLengths) {
        expect_lists(see_half(a, observe::top_k(k)), a.wide, k, 3e-5);
        if (HasFatalFailure()) return;
      }
    }
  });
}

// One query a row, whose scores are whole numbers: of few values, so that many are equal; ascending, so that
// every key displaces another; descending; all equal.
enum class Order { kFewValues, kAscending, kDescending, kEqual };

Arrays whole_numbers(Order order, int64_t lq, int64_t lk) {
  Problem p;
  p.q_lengths = {lq};
  p.k_lengths = {lk};
  p.d = p.dv = 2;
  p.spec.score = Score::kDot;
  Arrays a = make_arrays(p);
  Random random(9);
  for (int64_t i = 0; i < lq; ++i) {
    a.q.data()[2 * i] = i % 3 == 2 ? -1.0f : static_cast<float>(1 + i % 3);
    a.q.data()[2 * i + 1] = 0.0f;
  }
  for (int64_t j = 0; j < lk; ++j) {
    const auto place = static_cast<float>(j);
    a.k.data()[2 * j] = order == Order::kFewValues    ? static_cast<float>(random.below(7)) - 3
                        : order == Order::kAscending  ? place
                        : order == Order::kDescending ? -place
                                                      : 0.0f;
    a.k.data()[2 * j + 1] = 0.0f;
  }
  return a;
}

std::vector<int64_t> strongest(const Arrays& a, int64_t i) {
  const int64_t lk = a.k_offsets.total();
  std::vector<float> score;
  for (int64_t j = 0; j < lk; ++j) score.push_back(a.q.data()[2 * i] * a.k.data()[2 * j]);
  std::vector<int64_t> order(static_cast<size_t>(lk));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) {
    return score[static_cast<size_t>(x)] > score[static_cast<size_t>(y)];
  });
  return order;
}

void expect_exactly(const Insight& seen, const Arrays& a, int64_t k, const std::string& what) {
  const int64_t lk = a.k_offsets.total();
  for (int64_t i = 0; i < a.q_offsets.total(); ++i) {
    const std::vector<int64_t> order = strongest(a, i);
    const List list(seen, i);
    for (int64_t s = 0; s < list.places; ++s) {
      const int64_t expected = s < std::min(k, lk) ? order[static_cast<size_t>(s)] : -1;
      ASSERT_EQ(list.keys[s], expected) << "row " << i << " place " << s << " k " << k << " " << what;
    }
  }
}

// Weights far from the strongest round to 0 here (scores up to 1,400 apart): their keys keep their places.
TEST(TopLists, TiesAndVanishedWeightsLeaveTheOrderOfScoresAlone) {
  for (const Order order : {Order::kFewValues, Order::kAscending, Order::kDescending, Order::kEqual}) {
    const Arrays a = whole_numbers(order, 19, 700);
    const std::string what = "order " + std::to_string(static_cast<int>(order));
    for (const int64_t k : {int64_t{1}, int64_t{63}, int64_t{64}, int64_t{65}, int64_t{128}, int64_t{349},
                            int64_t{350}, int64_t{351}, int64_t{699}, int64_t{700}, int64_t{701}, kAbsurd}) {
      for (const Isa isa : available_isas()) {
        const UseIsa use(isa);
        expect_exactly(see(a, observe::top_k(k)), a, k, what + " of " + to_string(isa));
      }
      expect_exactly(see_double(a, observe::top_k(k)), a, k, what + " in float64");
      Arrays kept = a;
      kept.problem.spec.top_k = k;
      expect_exactly(see(kept, observe::top_k(k)), a, k, what + " of kept keys");
      kept.problem.spec.top_k = kAbsurd;
      expect_exactly(see(kept, observe::top_k(k)), a, k, what + " of all keys, kept");
      expect_exactly(see_double(kept, observe::top_k(k)), a, k, what + " of all keys, kept in float64");
      if (HasFatalFailure()) return;
    }
  }
  with_pair_kernels([] {  // bf16 holds whole numbers up to 256
    for (const Order order : {Order::kFewValues, Order::kAscending, Order::kDescending, Order::kEqual}) {
      HalfArrays<BFloat16> a{whole_numbers(order, 19, 200), {}, {}, {}, {}, {}, {}, {}};
      a.q = a.wide.q.to(DType::kBF16), a.k = a.wide.k.to(DType::kBF16), a.v = a.wide.v.to(DType::kBF16);
      a.inputs.q = same_place<BFloat16>(a.q, a.wide.q, a.wide.inputs.q);
      a.inputs.k = same_place<BFloat16>(a.k, a.wide.k, a.wide.inputs.k);
      a.inputs.v = same_place<BFloat16>(a.v, a.wide.v, a.wide.inputs.v);
      a.inputs.rest = a.wide.inputs;
      for (const int64_t k : {1, 64, 65, 99, 100, 101, 199, 200, 201})
        expect_exactly(see_half(a, observe::top_k(k)), a.wide, k, "pairs");
    }
  });
}

TEST(TopLists, ALongerListBeginsWithTheShorterOne) {
  const Arrays a = make_arrays(problem_of(1));
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    const Insight shorter = see(a, observe::top_k(64));
    for (const int64_t k : {65, 120, 400}) {
      const Insight longer = see(a, observe::top_k(k));
      for (int64_t row = 0; row < a.q_offsets.total() * a.problem.heads; ++row) {
        const List x(shorter, row), y(longer, row);
        for (int64_t s = 0; s < 64; ++s) {
          ASSERT_EQ(x.keys[s], y.keys[s]) << "row " << row << " place " << s << " k " << k;
          ASSERT_EQ(x.weights[s], y.weights[s]) << "row " << row << " place " << s << " k " << k;
        }
      }
    }
  }
}

TEST(TopLists, PackingThreadsAndObserversDoNotChangeBits) {
  const int before = get_num_threads();
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const int variant : {0, 1, 3}) {
      const Arrays a = make_arrays(problem_of(variant));
      const AttentionResult plain = attention(a.inputs, a.problem.spec);
      for (const int64_t k : {int64_t{40}, int64_t{65}, int64_t{130}, int64_t{300}, kAbsurd}) {
        const Observers wished = observe::top_k(k) | observe::max | observe::entropy;
        const AttentionResult whole = attention(a.inputs, a.problem.spec, wished);
        expect_same_bits(plain.out, whole.out, "out");
        expect_same_bits(plain.lse, whole.lse, "lse");
        for (const int threads : {1, 2, 3, 8}) {
          set_num_threads(threads);
          const Insight again = see(a, wished);
          expect_same_bits(whole.seen.top_k_keys, again.top_k_keys, "keys");
          expect_same_bits(whole.seen.top_k_weights, again.top_k_weights, "weights");
        }
        set_num_threads(before);
        for (int64_t n = 0; variant < 3 && n < a.q_offsets.count(); ++n) {
          const auto part = [n](const Tensor& x, const Offsets& o) { return x.rows(o.begin(n), o.end(n)); };
          const Insight alone = attention(part(a.q, a.q_offsets), part(a.k, a.k_offsets),
                                          part(a.v, a.k_offsets), a.problem.spec, wished)
                                    .seen;
          for (int64_t row = 0; row < a.q_offsets.length(n) * a.problem.heads; ++row) {
            const List x(whole.seen, a.q_offsets.begin(n) * a.problem.heads + row), y(alone, row);
            for (int64_t s = 0; s < std::min(x.places, y.places); ++s) {
              ASSERT_EQ(x.keys[s], y.keys[s]) << "row " << row << " place " << s << " k " << k;
              ASSERT_EQ(x.weights[s], y.weights[s]) << "row " << row << " place " << s << " k " << k;
            }
          }
        }
      }
    }
  }
  set_num_threads(before);
}

// A sink so strong that every weight is 0, and keys so weak that theirs are.
TEST(TopLists, KeysWhoseWeightsRoundToZeroAreListedByEveryCall) {
  Problem p;
  p.q_lengths = {3};
  p.k_lengths = {150};
  p.sinks = true;
  Arrays a = make_arrays(p);
  a.sinks.fill(300.0f);
  const Insight wide = see_double(a, observe::top_k(100) | observe::max);
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    const Insight seen = see(a, observe::top_k(100) | observe::max);
    a.problem.spec.top_k = 120;
    const Insight kept = see(a, observe::top_k(100) | observe::max);
    a.problem.spec.top_k = 0;
    for (int64_t i = 0; i < 3; ++i) {
      for (const Insight* x : {&seen, &kept, &wide}) {
        EXPECT_EQ(x->max_key.data<int64_t>()[i], wide.max_key.data<int64_t>()[i]) << i;
        for (int64_t s = 0; s < 100; ++s) {
          ASSERT_EQ(List(*x, i).keys[s], List(wide, i).keys[s]) << i << " place " << s;
          ASSERT_EQ(List(*x, i).weights[s], 0.0f) << i << " place " << s;
        }
      }
    }
  }
}

TEST(TopLists, NanIsInNoListAndLeavesOtherRowsAlone) {
  Problem p;
  p.q_lengths = p.k_lengths = {150};
  p.spec.causal = true;
  const Arrays clean = make_arrays(p);
  Arrays dirty = make_arrays(p);
  dirty.k.data()[70 * 8 + 3] = NAN;
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const int64_t k : {64, 65, 100, 200}) {
      const Insight expected = see(clean, observe::top_k(k)), got = see(dirty, observe::top_k(k)),
                    wide = see_double(dirty, observe::top_k(k));
      for (int64_t i = 0; i < 150; ++i) {
        const List x(expected, i), y(got, i), z(wide, i);
        for (int64_t s = 0; s < k; ++s) {
          if (i < 70) {
            ASSERT_EQ(x.keys[s], y.keys[s]) << i << " place " << s;
          } else {
            ASSERT_TRUE(y.keys[s] != 70 && z.keys[s] != 70) << i << " place " << s;
          }
        }
      }
    }
  }
}

TEST(TopLists, OnCachesAreThoseOfTheWholeCall) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kInt8}) {
      DecodeCase c;
      c.type = type;
      c.q_lengths = {3, 1, 2};
      c.k_lengths = {1300, 50, 200};
      c.sinks = true;
      c.spec.causal = true;
      Decoded x;
      prepare(c, x);
      for (const int64_t k : {int64_t{1}, int64_t{64}, int64_t{65}, int64_t{199}, int64_t{1300}, kAbsurd}) {
        decode(c, x, observe::top_k(k) | observe::max);
        for (int64_t n = 0; n < 3; ++n) {
          const reference::Attention r = reference_of(c, x, n);
          for (int64_t row = 0; row < r.lq * c.heads; ++row) {
            const List list(x.seen, x.inputs.q_offsets.begin(n) * c.heads + row);
            expect_list(list, r, row % c.heads, row / c.heads, k, weight_tolerance(c, r),
                        "k " + std::to_string(k) + " row " + std::to_string(row) + " of " + to_string(type));
            if (HasFatalFailure()) return;
          }
        }
      }
      // A sink that leaves every key a weight of 0 hides none.
      x.sinks.fill(300.0f);
      decode(c, x, observe::top_k(100) | observe::max);
      const List list(x.seen, 0);
      for (int64_t s = 0; s < 100; ++s) EXPECT_TRUE(list.keys[s] >= 0 && list.weights[s] == 0.0f) << s;
      EXPECT_EQ(x.seen.max_key.data<int64_t>()[0], list.keys[0]);
    }
  }
}

TEST(TopLists, OfPartsMergeIntoThoseOfTheWhole) {
  Problem p;
  p.q_lengths = {9};
  p.k_lengths = {350};
  const Arrays a = make_arrays(p);
  const auto part = [&](int64_t begin, int64_t end) {
    return attention(a.q, a.k.rows(begin, end), a.v.rows(begin, end), p.spec, observe::top_k(300));
  };
  AttentionResult parts = part(0, 150);
  const int64_t first[] = {150};
  merge(parts, part(150, 350), a.q_offsets, first);
  expect_lists(parts.seen, a, 300, 3e-5);
}

// A k beyond all lengths costs what the longest sequence's keys cost: no list of 2^62 places.
TEST(TopLists, AnAbsurdNumberTakesNoMemory) {
  Problem p;
  p.q_lengths = {300, 20};
  p.k_lengths = {300, 20};
  Arrays a = make_arrays(p);
  for (const int64_t k : {kAbsurd, int64_t{1} << 40, std::numeric_limits<int64_t>::max()}) {
    a.problem.spec.top_k = k;
    const int64_t before = memory_stats().bytes_in_use;
    reset_peak_memory();
    run_engine(a);
    const Insight seen = see(a, observe::top_k(k));
    EXPECT_EQ(seen.top_k_keys.shape(), (Shape{320, 1, 1324}));
    // The lists 5 MB; a thread's workspace of 256 rows at most 10 MB, for up to 8 threads.
    EXPECT_LT(memory_stats().peak_bytes_in_use - before, int64_t{96} << 20) << k;
  }
}

}  // namespace
}  // namespace fovea::testing
