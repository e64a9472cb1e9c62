// The gradient of a bias that sequences or heads share: summed in tiles where sequences are short, by bands
// of queries and chunks of keys where they are long, in copies where neither serves. Against float64, and the
// same bits on any number of threads, which decides what runs side by side.
#include <gtest/gtest.h>

#include "fovea/base/cpu.hpp"
#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/each_isa.hpp"

namespace fovea::testing {
namespace {

class BiasGradient : public EachIsa {};

Problem of_lengths(std::vector<int64_t> lengths, int64_t heads, int64_t kv_heads) {
  Problem p;
  p.q_lengths = p.k_lengths = std::move(lengths);
  p.heads = heads;
  p.kv_heads = kv_heads;
  return p;
}

// Shared by heads and sequences, or by one of the two.
std::vector<std::vector<bool>> shared_axes() {
  return {{false, false, true, true}, {true, false, true, true}, {false, true, true, true}};
}

TEST_P(BiasGradient, OfShortSequences) {
  for (const int64_t length : {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127}) {
    Problem p = of_lengths({length}, 4, length % 2 == 0 ? 2 : 4);
    p.bias = {false, false, true, true};
    p.keys_outer = length % 3 == 0;
    check_on_threads(p);
  }
  Problem p;
  p.q_lengths = {63, 0, 5, 65, 130, 1};
  p.k_lengths = {66, 4, 0, 1, 65, 130};
  p.heads = 4;
  p.kv_heads = 2;
  for (const auto& axes : shared_axes()) {
    p.bias = axes;
    check_on_threads(p);
  }
}

// In several chunks, several bands, and both.
TEST_P(BiasGradient, OfLongSequences) {
  for (const auto& [lq, lk] : {std::pair<int64_t, int64_t>{520, 576}, {1030, 260}, {40, 4160}}) {
    Problem p;
    p.q_lengths = {lq};
    p.k_lengths = {lk};
    p.heads = p.kv_heads = 2;
    p.bias = {false, false, true, true};
    p.spec.causal = p.keys_outer = lq > lk;
    check_on_threads(p);
  }
}

TEST_P(BiasGradient, OfLongSequencesUnderMasksAndGroupedHeads) {
  Problem p = of_lengths({530}, 4, 2);
  p.bias = {false, false, true, true};
  p.hiding_bias = true;
  p.spec.softcap = 3.0f;
  p.spec.window_left = 80;
  p.spec.window_right = 20;
  check_on_threads(p);
  p.heads = p.kv_heads = 2;
  p.spec.window_left = p.spec.window_right = -1;
  p.blocks = Problem::Blocks::kPerHead;
  p.mask = {true, false, true, true};
  p.spec.dropout = 0.2f;
  p.spec.dropout_key = RandomKey{3, 4};
  p.sinks = p.interleaved = true;
  check_on_threads(p);
}

TEST_P(BiasGradient, OfLongBatchesOnAnyNumberOfThreads) {
  Problem p;
  p.q_lengths = {515, 0, 40, 530};
  p.k_lengths = {580, 30, 600, 0};
  p.heads = p.kv_heads = 2;
  for (const auto& axes : shared_axes()) {
    p.bias = axes;
    p.spec.causal = !axes[1];
    check_on_threads(p);
  }
}

// Beside a bias by distance, whose gradient bands cannot sum, and with an axis of queries or keys broadcast.
TEST_P(BiasGradient, InCopies) {
  Problem p = of_lengths({520, 30}, 2, 1);
  p.bias = {false, false, true, true};
  p.alibi = true;
  check_on_threads(p);
  p.alibi = false;
  for (const bool of_query : {false, true}) {
    p.bias = {false, false, of_query, !of_query};
    check_on_threads(p);
  }
}

TEST_P(BiasGradient, LeavesASequenceItsBitsInABatch) {
  Problem p = of_lengths({600, 90, 1100, 20}, 4, 2);
  p.bias = {false, false, true, true};
  p.spec.causal = true;
  const Arrays arrays = make_arrays(p);
  const Results all = run_engine(arrays);
  for (int64_t n = 0; n < 4; ++n) {
    const int64_t begin = arrays.q_offsets.begin(n), end = arrays.q_offsets.end(n);
    Arrays alone = arrays;
    for (HeadsView<const float>* x : {&alone.inputs.q, &alone.inputs.k, &alone.inputs.v, &alone.dout_view}) {
      x->data += begin * x->stride(0);
      x->dims[0] = end - begin;
    }
    alone.q_offsets = alone.k_offsets = Offsets::single(end - begin);
    alone.inputs.q_offsets = alone.inputs.k_offsets = alone.q_offsets;
    alone.inputs.bias.dims[0] = 1;
    const Results one = run_engine(alone);
    expect_same_bits(one.dq, all.dq.rows(begin, end).clone(), "dq");
    expect_same_bits(one.dk, all.dk.rows(begin, end).clone(), "dk");
    expect_same_bits(one.dv, all.dv.rows(begin, end).clone(), "dv");
  }
}

TEST_P(BiasGradient, AddsToWhatIsThere) {
  for (const int64_t length : {50, 600}) {
    Problem p = of_lengths({length, length}, 2, 2);
    p.bias = {false, false, true, true};
    const Arrays a = make_arrays(p);
    const Results once = run_engine(a);
    Tensor twice = Tensor::zeros({length * length});
    AttentionGradients g;
    g.dbias = {twice.data(), a.inputs.bias.dims, a.inputs.bias.strides};
    const auto view = contiguous_view<const float, 3>(once.out.data(), {2 * length, p.heads, p.dv});
    for (int i = 0; i < 2; ++i) attention_backward(a.inputs, p.spec, view, once.saved(), a.dout_view, g);
    // Each sum is rounded once more, ε/2 of a result of at most 2·max|dbias|.
    float most = 0.0f;
    for (const float x : once.dbias.span()) most = std::max(most, std::abs(x));
    for (int64_t i = 0; i < length * length; ++i)
      ASSERT_NEAR(twice.data()[i], 2 * once.dbias.data()[i], 6e-8f * 4 * most) << "element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Attention, BiasGradient, ::testing::ValuesIn(available_isas()),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

// dbias of one head is 16 MB; copies of it would show.
TEST(BiasGradientMemory, GrowsWithTheTokens) {
  Problem p = of_lengths({2000}, 8, 8);
  p.d = p.dv = 16;
  p.spec.causal = true;
  p.bias = {false, false, true, true};
  const int threads = get_num_threads();
  set_num_threads(2);
  const Arrays a = make_arrays(p);
  Results first = run_engine(a);
  const int64_t before = memory_stats().bytes_in_use;
  reset_peak_memory();
  AttentionGradients g;
  Tensor dq = Tensor::empty({2000, 8, 16}), dk = Tensor::empty({2000, 8, 16}),
         dv = Tensor::empty({2000, 8, 16});
  g.dq = contiguous_view<float, 3>(dq.data(), {2000, 8, 16});
  g.dk = contiguous_view<float, 3>(dk.data(), {2000, 8, 16});
  g.dv = contiguous_view<float, 3>(dv.data(), {2000, 8, 16});
  g.dbias = {first.dbias.data(), a.inputs.bias.dims, a.inputs.bias.strides};
  attention_backward(a.inputs, p.spec, contiguous_view<const float, 3>(first.out.data(), {2000, 8, 16}),
                     first.saved(), a.dout_view, g);
  // Arrays as large as q (1 MB): dq, dk, dv; three shares of each; for each thread sums of 1 MB and tiles of
  // 0.4.
  EXPECT_LT(memory_stats().peak_bytes_in_use - before, int64_t{16} << 20);
  set_num_threads(threads);
}

}  // namespace
}  // namespace fovea::testing
