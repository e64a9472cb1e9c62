// What must hold whatever the numbers: packing, threads, observers, permutation, merging, extremes, NaN.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "fovea/base/cpu.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/use_isa.hpp"

namespace fovea::testing {
namespace {

class Threads {
 public:
  explicit Threads(int n) : before_(get_num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }

 private:
  int before_;
};

void expect_same_results(const Results& a, const Results& b, const std::string& what) {
  expect_same_bits(a.out, b.out, what + " out");
  expect_same_bits(a.lse, b.lse, what + " lse");
  expect_same_bits(a.dq, b.dq, what + " dq");
  expect_same_bits(a.dk, b.dk, what + " dk");
  expect_same_bits(a.dv, b.dv, what + " dv");
  expect_same_bits(a.dslopes, b.dslopes, what + " dslopes");
  expect_same_bits(a.dtable, b.dtable, what + " dtable");
  expect_same_bits(a.dsinks, b.dsinks, what + " dsinks");
  if (a.dscales) expect_same_bits(a.dscales, b.dscales, what + " dscales");
  if (a.dbias) expect_same_bits(a.dbias, b.dbias, what + " dbias");
}

Problem ragged() {
  Problem p;
  p.q_lengths = {70, 0, 1, 300, 33, 65};
  p.k_lengths = {70, 5, 1, 300, 90, 0};
  p.heads = 4;
  p.kv_heads = 2;
  p.d = 32;
  p.dv = 24;
  p.spec.causal = true;
  return p;
}

// One sequence of a packed problem, with the same numbers.
Arrays alone(const Arrays& packed, int64_t n) {
  Arrays a = packed;
  a.problem.q_lengths = {packed.q_offsets.length(n)};
  a.problem.k_lengths = {packed.k_offsets.length(n)};
  a.q_offsets = Offsets::single(packed.q_offsets.length(n));
  a.k_offsets = Offsets::single(packed.k_offsets.length(n));
  const auto cut = [](HeadsView<const float> x, int64_t begin, int64_t length) {
    x.data += begin * x.stride(0);
    x.dims[0] = length;
    return x;
  };
  a.inputs.q = cut(packed.inputs.q, packed.q_offsets.begin(n), packed.q_offsets.length(n));
  a.inputs.k = cut(packed.inputs.k, packed.k_offsets.begin(n), packed.k_offsets.length(n));
  a.inputs.v = cut(packed.inputs.v, packed.k_offsets.begin(n), packed.k_offsets.length(n));
  a.dout_view = cut(packed.dout_view, packed.q_offsets.begin(n), packed.q_offsets.length(n));
  a.inputs.q_offsets = a.q_offsets;
  a.inputs.k_offsets = a.k_offsets;
  const auto cut_scores = [n](auto& x) {
    if (x.data == nullptr) return;
    x.data += n * x.stride(0);
    x.dims[0] = 1;
  };
  cut_scores(a.inputs.bias);
  cut_scores(a.inputs.mask);
  if (packed.problem.blocks == Problem::Blocks::kPerSequence)
    a.inputs.blocks = packed.inputs.blocks.subspan(static_cast<size_t>(n), 1);
  return a;
}

TEST(Attention, PackedSequencesHaveTheBitsTheyHaveAlone) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    Problem p = ragged();
    p.q_lengths[3] = p.k_lengths[3] = isa == Isa::kBaseline ? 300 : 1200;  // several key chunks in backward
    p.alibi = true;
    p.bias = {false, true, true, true};  // alone, its gradient is not shared
    p.mask = {true, false, true, true};
    p.blocks = Problem::Blocks::kPerSequence;
    const Arrays packed = make_arrays(p);
    const Results whole = run_engine(packed);
    for (int64_t n = 0; n < packed.q_offsets.count(); ++n) {
      const Results one = run_engine(alone(packed, n));
      const auto rows = [&](const Tensor& x, const Offsets& o) { return x.rows(o.begin(n), o.end(n)); };
      expect_same_bits(rows(whole.out, packed.q_offsets), one.out, "out");
      expect_same_bits(rows(whole.lse, packed.q_offsets), one.lse, "lse");
      expect_same_bits(rows(whole.dq, packed.q_offsets), one.dq, "dq");
      expect_same_bits(rows(whole.dk, packed.k_offsets), one.dk, "dk");
      expect_same_bits(rows(whole.dv, packed.k_offsets), one.dv, "dv");
    }
  }
}

TEST(Attention, AnyNumberOfThreadsGivesTheSameBits) {
  for (const bool options : {false, true}) {
    for (const int64_t length : {300, 1500}) {
      Problem p = ragged();
      p.q_lengths = p.k_lengths = {length, 40};
      p.heads = p.kv_heads = 2;
      if (options) {
        p.alibi = p.relative = p.sinks = p.scales = true;
        p.bias = {false, false, true, true};
        p.mask = {true, false, true, true};
        p.blocks = Problem::Blocks::kPerHead;
        p.spec.dropout = 0.2f;
      }
      const Arrays arrays = make_arrays(p);
      const Results one = [&] {
        const Threads threads(1);
        return run_engine(arrays);
      }();
      for (const int n : {2, 3, 8}) {
        const Threads threads(n);
        expect_same_results(one, run_engine(arrays), std::to_string(n) + " threads");
      }
    }
  }
}

TEST(Attention, LayoutDoesNotChangeBits) {
  Problem p;
  p.q_lengths = p.k_lengths = {200, 40, 17};
  p.heads = 3;
  p.kv_heads = 3;
  p.d = p.dv = 32;
  p.interleaved = true;
  const Arrays columns = make_arrays(p);
  Arrays rows = columns;
  const auto dense = [](HeadsView<const float>& x, Tensor& memory) {
    memory = Tensor::empty({x.dim(0), x.dim(1), x.dim(2)});
    float* to = memory.data();
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t h = 0; h < x.dim(1); ++h) {
        for (int64_t c = 0; c < x.dim(2); ++c) *to++ = x.data[t * x.stride(0) + h * x.stride(1) + c];
      }
    }
    x = contiguous_view<const float, 3>(memory.data(), x.dims);
  };
  dense(rows.inputs.q, rows.q);
  dense(rows.inputs.k, rows.k);
  dense(rows.inputs.v, rows.v);
  expect_same_results(run_engine(columns), run_engine(rows), "layout");
}

TEST(Attention, BatchedHeadsHaveTheBitsOfPackedOnes) {
  Problem p;
  p.q_lengths = p.k_lengths = {90, 90, 90};
  p.heads = 4;
  p.kv_heads = 2;
  p.d = p.dv = 32;
  p.batched = true;
  const Arrays batched = make_arrays(p);
  Arrays packed = batched;
  const auto pack = [&](HeadsView<const float>& x, Tensor& memory) {
    memory = Tensor::empty({x.dim(0), x.dim(1), x.dim(2)});
    float* to = memory.data();
    for (int64_t t = 0; t < x.dim(0); ++t) {
      for (int64_t h = 0; h < x.dim(1); ++h) {
        const float* row = x.data + t / 90 * x.sequence_stride + t % 90 * x.stride(0) + h * x.stride(1);
        to = std::copy_n(row, x.dim(2), to);
      }
    }
    x = contiguous_view<const float, 3>(memory.data(), x.dims);
  };
  pack(packed.inputs.q, packed.q);
  pack(packed.inputs.k, packed.k);
  pack(packed.inputs.v, packed.v);
  pack(packed.dout_view, packed.dout);
  expect_same_results(run_engine(batched), run_engine(packed), "batched");
}

TEST(Attention, MasksOfEveryKindHaveTheBitsOfEachOther) {
  // Causality as an option, a block mask, a boolean mask and a bias of −∞.
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    Problem p;
    p.q_lengths = {150};
    p.k_lengths = {210};
    p.d = p.dv = 16;
    const Arrays plain = make_arrays(p);
    Arrays arrays = plain;
    arrays.problem.spec.causal = true;
    const Results causal = run_engine(arrays);
    arrays = plain;
    const std::vector<BlockMask> blocks{BlockMask::causal(150, 210)};
    arrays.inputs.blocks = blocks;
    expect_same_results(causal, run_engine(arrays), "blocks");
    std::vector<uint8_t> mask;
    std::vector<float> bias;
    for (int64_t i = 0; i < 150; ++i) {
      for (int64_t j = 0; j < 210; ++j) {
        mask.push_back(j <= i + 60 ? 255 : 0);
        bias.push_back(j <= i + 60 ? 0.0f : -INFINITY);
      }
    }
    arrays = plain;
    arrays.inputs.mask = broadcast_scores<const uint8_t>(mask.data(), {1, 1, 150, 210}, {1, 1, 150, 210});
    expect_same_results(causal, run_engine(arrays), "mask");
    arrays = plain;
    arrays.inputs.bias = broadcast_scores<const float>(bias.data(), {1, 1, 150, 210}, {1, 1, 150, 210});
    expect_same_results(causal, run_engine(arrays), "bias");
  }
}

TEST(Attention, BackwardWritesOnlyItsColumns) {
  // dq, dk and dv as columns of one [T, 3C] matrix, with a guard column between.
  Problem p;
  p.q_lengths = p.k_lengths = {100, 64, 9};
  p.heads = p.kv_heads = 2;
  p.d = p.dv = 16;
  const Arrays a = make_arrays(p);
  const Results expected = run_engine(a);
  const int64_t tokens = a.q_offsets.total(), columns = 3 * 32 + 3;
  Tensor all = Tensor::full({tokens, columns}, 7.0);
  const AttentionGradients g{heads_of_columns<float>(all.data(), tokens, columns, 0, 2, 16),
                             heads_of_columns<float>(all.data(), tokens, columns, 33, 2, 16),
                             heads_of_columns<float>(all.data(), tokens, columns, 66, 2, 16)};
  attention_backward(a.inputs, p.spec, contiguous_view<const float, 3>(expected.out.data(), {tokens, 2, 16}),
                     expected.saved(), a.dout_view, g);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* row = all.data() + t * columns;
    for (const int64_t guard : {32, 65, 98}) EXPECT_EQ(row[guard], 7.0f) << t;
    EXPECT_EQ(std::memcmp(row, expected.dq.data() + t * 32, 128), 0) << t;
    EXPECT_EQ(std::memcmp(row + 33, expected.dk.data() + t * 32, 128), 0) << t;
    EXPECT_EQ(std::memcmp(row + 66, expected.dv.data() + t * 32, 128), 0) << t;
  }
}

TEST(Attention, KeysMayComeInAnyOrder) {
  Problem p;
  p.q_lengths = {40};
  p.k_lengths = {150};
  p.d = p.dv = 16;
  Arrays a = make_arrays(p);
  const Results before = run_engine(a);
  std::vector<int64_t> order(150);
  std::iota(order.begin(), order.end(), 0);
  Random random(3);
  random.shuffle(order);
  const Tensor k = a.k.clone(), v = a.v.clone();
  for (size_t j = 0; j < 150; ++j) {
    std::memcpy(a.k.data() + j * 16, k.data() + order[j] * 16, 64);
    std::memcpy(a.v.data() + j * 16, v.data() + order[j] * 16, 64);
  }
  const Results after = run_engine(a);
  // Sums over 150 keys in another order: ε·√150 of values of size 4, granted 3 times.
  for (int64_t i = 0; i < before.out.numel(); ++i) {
    EXPECT_NEAR(before.out.data()[i], after.out.data()[i], 3 * 0x1p-23 * 12.3 * 4) << i;
  }
}

TEST(Attention, PartsOfTheKeysMergeIntoTheWhole) {
  Problem p;
  p.q_lengths = {50};
  p.k_lengths = {130};
  p.heads = p.kv_heads = 2;
  const Arrays a = make_arrays(p);
  const AttentionResult whole = attention(a.q, a.k, a.v);
  SoftmaxState state{Tensor::zeros({50, 2, 8}), Tensor::full({50, 2}, -INFINITY)};
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 1}, {1, 64}, {64, 64}, {64, 130}}) {
    const AttentionResult part = attention(a.q, a.k.rows(begin, end), a.v.rows(begin, end));
    merge(state, {part.out, part.lse});
  }
  for (int64_t i = 0; i < whole.out.numel(); ++i)
    EXPECT_NEAR(state.out.data()[i], whole.out.data()[i], 2e-6f) << i;
  for (int64_t i = 0; i < whole.lse.numel(); ++i)
    EXPECT_NEAR(state.lse.data()[i], whole.lse.data()[i], 2e-6f) << i;
}

TEST(Attention, QueriesWithoutKeysGiveZeroAndNoGradient) {
  Problem p;
  p.q_lengths = {10, 4};
  p.k_lengths = {4, 0};
  p.spec.causal = true;  // the first six queries of the first sequence stand before its first key
  const Arrays a = make_arrays(p);
  const Results r = run_engine(a);
  for (const int64_t t : {0, 5, 10, 13}) {
    EXPECT_EQ(r.lse.data()[t], -INFINITY) << t;
    for (int64_t c = 0; c < 8; ++c) {
      EXPECT_EQ(r.out.data()[t * 8 + c], 0.0f) << t;
      EXPECT_EQ(r.dq.data()[t * 8 + c], 0.0f) << t;
    }
  }
  EXPECT_TRUE(std::isfinite(r.lse.data()[6]));
}

TEST(Attention, HiddenRowsGiveZeroAndNoGradient) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const int kind : {0, 1, 2}) {
      Problem p;
      p.q_lengths = p.k_lengths = {70};
      const Arrays plain = make_arrays(p);
      Arrays a = plain;
      const auto sees = [](int64_t i, int64_t j) { return i % 9 != 4 && i != 69 && j % 3 != 1; };
      const std::vector<BlockMask> blocks{BlockMask::from_function(70, 70, sees)};
      std::vector<uint8_t> mask;
      std::vector<float> bias;
      for (int64_t i = 0; i < 70 * 70; ++i) {
        mask.push_back(sees(i / 70, i % 70) ? 1 : 0);
        bias.push_back(sees(i / 70, i % 70) ? 0.5f : -INFINITY);
      }
      if (kind == 0) a.inputs.blocks = blocks;
      if (kind == 1)
        a.inputs.mask = broadcast_scores<const uint8_t>(mask.data(), {1, 1, 70, 70}, {1, 1, 70, 70});
      if (kind == 2)
        a.inputs.bias = broadcast_scores<const float>(bias.data(), {1, 1, 70, 70}, {1, 1, 70, 70});
      const Results r = run_engine(a);
      for (int64_t t = 0; t < 70; ++t) {
        const bool empty = !sees(t, 0);
        EXPECT_EQ(std::isinf(r.lse.data()[t]), empty) << kind << " " << t;
        for (int64_t c = 0; c < 8; ++c) {
          EXPECT_EQ(r.out.data()[t * 8 + c] == 0.0f, empty) << kind << " " << t;
          EXPECT_EQ(r.dq.data()[t * 8 + c] == 0.0f, empty) << kind << " " << t;
          if (t % 3 == 1) {
            EXPECT_EQ(r.dk.data()[t * 8 + c], 0.0f) << kind << " " << t;
            EXPECT_EQ(r.dv.data()[t * 8 + c], 0.0f) << kind << " " << t;
          }
        }
      }
      // A NaN reaches no query that does not see it.
      Arrays dirty = a;
      dirty.q = a.q.clone();
      dirty.v = a.v.clone();
      dirty.inputs.q = contiguous_view<const float, 3>(dirty.q.data(), {70, 1, 8});
      dirty.inputs.v = contiguous_view<const float, 3>(dirty.v.data(), {70, 1, 8});
      dirty.v.data()[4 * 8] = NAN;  // key 4 is hidden from all
      const Results clean = run_engine(dirty, false);
      expect_same_bits(clean.out, r.out, "hidden NaN");
      dirty.v.data()[3 * 8] = NAN;
      const Results seen = run_engine(dirty, false);
      for (int64_t t = 0; t < 70; ++t)
        EXPECT_EQ(std::isnan(seen.out.data()[t * 8]), sees(t, 3)) << kind << " " << t;
    }
  }
}

TEST(Attention, LogitsOfTenThousandStayFinite) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    Problem p;
    p.q_lengths = p.k_lengths = {70};
    p.spec.scale = 1.0f;
    p.magnitude = 3000.0;
    const Arrays a = make_arrays(p);
    const Results r = run_engine(a);
    for (const Tensor* x : {&r.out, &r.lse, &r.dq, &r.dk, &r.dv}) {
      for (const float value : x->span()) ASSERT_TRUE(std::isfinite(value));
    }
  }
}

TEST(Attention, NanReachesOnlyTheRowsThatSeeIt) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    Problem p;
    p.q_lengths = p.k_lengths = {80, 20};
    p.spec.causal = true;
    Arrays a = make_arrays(p);
    const Results clean = run_engine(a, false);
    for (const bool in_value : {false, true}) {
      Arrays dirty = make_arrays(p);
      (in_value ? dirty.v : dirty.k).data()[70 * 8 + 3] = NAN;
      const Results r = run_engine(dirty, false);
      for (int64_t t = 0; t < 100; ++t) {
        const bool sees = t >= 70 && t < 80;
        const float got = r.out.data()[t * 8 + 3];
        if (sees) {
          EXPECT_TRUE(std::isnan(got)) << to_string(isa) << " " << in_value << " " << t;
        } else {
          EXPECT_EQ(got, clean.out.data()[t * 8 + 3]) << to_string(isa) << " " << in_value << " " << t;
        }
      }
    }
    Arrays dirty = make_arrays(p);
    dirty.q.data()[33 * 8] = NAN;
    const Results r = run_engine(dirty, false);
    for (int64_t t = 0; t < 100; ++t) EXPECT_EQ(std::isnan(r.out.data()[t * 8]), t == 33) << t;
  }
}

TEST(Attention, ShiftingAllScoresOfARowChangesNothing) {
  // A constant relative bias shifts every score; weights stay.
  Problem p;
  p.q_lengths = p.k_lengths = {60};
  const Arrays a = make_arrays(p);
  const AttentionResult plain = attention(a.inputs);
  AttentionInputs shifted = a.inputs;
  const Tensor table = Tensor::full({16, 1}, 3.0);
  shifted.relative = {table.data(), 16, 50, true};
  const AttentionResult moved = attention(shifted);
  for (int64_t i = 0; i < plain.out.numel(); ++i)
    EXPECT_NEAR(plain.out.data()[i], moved.out.data()[i], 4e-6f);
  for (int64_t i = 0; i < plain.lse.numel(); ++i)
    EXPECT_NEAR(plain.lse.data()[i] + 3, moved.lse.data()[i], 4e-6f);
}

TEST(Attention, MemoryGrowsWithTheTokensNotWithTheirSquare) {
  Problem p;
  p.q_lengths = p.k_lengths = {6000};  // one score matrix would take 144 MB
  p.d = p.dv = 16;
  p.spec.window_left = 64;  // memory is the same without, time is not
  p.spec.window_right = 64;
  const Arrays a = make_arrays(p);
  const int64_t before = memory_stats().bytes_in_use;
  reset_peak_memory();
  const Results r = run_engine(a);
  // Results are 1.6 MB; backward holds up to seven shares of dQ, 2.7 MB, and a workspace a thread. The pool
  // rounds up to the next power of two.
  EXPECT_LT(memory_stats().peak_bytes_in_use - before, int64_t{24} << 20);
}

TEST(Attention, DropsTheStatedShare) {
  AttentionSpec spec;
  spec.dropout = 0.3f;
  int64_t kept = 0;
  for (int64_t row = 0; row < 300; ++row) {
    for (int64_t j = 0; j < 300; ++j) kept += kept_by(spec, row, 1, 0, j);
  }
  // Binomial: standard deviation √(90000·0.3·0.7) = 137.5; four of them.
  EXPECT_NEAR(static_cast<double>(kept), 63000.0, 550.0);
}

}  // namespace
}  // namespace fovea::testing
