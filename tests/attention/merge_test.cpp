// Answers of parts of the keys, merged, against one answer over all keys.
//
// Tolerance: a merge multiplies by a share e^{lse − lse}, off by ε·(|lse| + 2) relative, and divides by a sum
// of two; with |lse| below 10 and up to four merges that is under 64ε of values up to 4 (out, entropy) or 1
// (weights). Effective keys are a quotient of such sums, relative 128ε of at most 130 keys.
#include "fovea/attention/merge.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "fovea/base/error.hpp"
#include "tests/attention/problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

constexpr float kEps = 0x1p-23f;
constexpr int64_t kSets = 3;

struct Split {
  Problem problem;
  Arrays arrays;
  std::vector<int32_t> sets;

  Split() : problem(make_problem()), arrays(make_arrays(problem)) {
    for (int64_t j = 0; j < arrays.k_offsets.total(); ++j)
      sets.push_back(static_cast<int32_t>(j * 5 % (kSets + 1)) - 1);
  }
  static Problem make_problem() {
    Problem p;
    p.q_lengths = {50, 3, 9};
    p.k_lengths = {130, 2, 0};
    p.heads = 4;
    p.kv_heads = 2;
    p.sinks = true;
    return p;
  }
  Observers observers(const std::vector<int32_t>& of_keys) const {
    return observe::entropy | observe::max | observe::top_k(4) | observe::effective_keys |
           observe::key_sets(of_keys, kSets);
  }

  // The keys of `from`, up to `to` of each sequence, packed, and where each begins.
  struct Part {
    Tensor k, v;
    std::vector<int32_t> sets;
    std::vector<int64_t> first, rows;  // of each sequence; of the packed keys
    Offsets offsets;
  };
  Part part(int64_t from, int64_t to) const {
    Part x;
    std::vector<int64_t> lengths;
    for (int64_t n = 0; n < arrays.k_offsets.count(); ++n) {
      const int64_t length = arrays.k_offsets.length(n);
      x.first.push_back(std::min(from, length));
      for (int64_t j = std::min(from, length); j < std::min(to, length); ++j)
        x.rows.push_back(arrays.k_offsets.begin(n) + j);
      lengths.push_back(std::min(to, length) - std::min(from, length));
    }
    x.offsets = Offsets::from_lengths(lengths);
    const auto take = [&x](const Tensor& all) {
      const int64_t size = all.dim(1) * all.dim(2);
      Tensor some = Tensor::empty({static_cast<int64_t>(x.rows.size()), all.dim(1), all.dim(2)});
      for (size_t j = 0; j < x.rows.size(); ++j)
        std::copy_n(all.data() + x.rows[j] * size, size, some.data() + static_cast<int64_t>(j) * size);
      return some;
    };
    x.k = take(arrays.k);
    x.v = take(arrays.v);
    for (const int64_t j : x.rows) x.sets.push_back(sets[static_cast<size_t>(j)]);
    return x;
  }
  AttentionInputs inputs(const Part& x) const {
    AttentionInputs in = arrays.inputs;
    in.sinks = {};
    in.k = contiguous_view<const float, 3>(x.k.data(), {x.k.dim(0), x.k.dim(1), x.k.dim(2)});
    in.v = contiguous_view<const float, 3>(x.v.data(), {x.v.dim(0), x.v.dim(1), x.v.dim(2)});
    in.k_offsets = x.offsets;
    return in;
  }
};

void expect_near(const Tensor& a, const Tensor& b, float tolerance, const char* what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  for (int64_t i = 0; i < a.numel(); ++i) {
    if (a.data()[i] == b.data()[i]) continue;  // infinities too
    ASSERT_NEAR(a.data()[i], b.data()[i], tolerance) << what << ' ' << i;
  }
}

constexpr std::pair<int64_t, int64_t> kParts[] = {{64, 130}, {0, 1}, {1, 64}, {130, 140}};

AttentionResult merged(const Split& s) {
  AttentionResult whole;
  for (const auto& [from, to] : kParts) {
    const Split::Part part = s.part(from, to);
    AttentionResult result = attention(s.inputs(part), {}, s.observers(part.sets));
    if (!whole.out.defined()) {  // an answer over no keys, to merge into
      whole = {Tensor::zeros(result.out.shape()), Tensor::full(result.lse.shape(), -INFINITY), {}};
      whole.seen.entropy = Tensor::zeros(result.lse.shape());
      whole.seen.max_weight = Tensor::zeros(result.lse.shape());
      whole.seen.max_key = Tensor::full(result.lse.shape(), -1, DType::kI64);
      whole.seen.top_k_weights = Tensor::zeros(result.seen.top_k_weights.shape());
      whole.seen.top_k_keys = Tensor::full(result.seen.top_k_keys.shape(), -1, DType::kI64);
      whole.seen.effective_keys = Tensor::zeros(result.lse.shape());
      whole.seen.set_mass = Tensor::zeros(result.seen.set_mass.shape());
    }
    merge(whole, result, s.arrays.q_offsets, part.first);
  }
  merge_sinks(whole, s.arrays.inputs.sinks);
  return whole;
}

TEST(Merge, WhatPartsSawBecomesWhatTheWholeSees) {
  const Split s;
  const AttentionResult whole = attention(s.arrays.inputs, {}, s.observers(s.sets)), parts = merged(s);
  expect_near(parts.out, whole.out, 256 * kEps, "out");
  expect_near(parts.lse, whole.lse, 64 * kEps, "lse");
  expect_near(parts.seen.entropy, whole.seen.entropy, 256 * kEps, "entropy");
  expect_near(parts.seen.max_weight, whole.seen.max_weight, 64 * kEps, "max");
  expect_near(parts.seen.top_k_weights, whole.seen.top_k_weights, 64 * kEps, "top_k");
  expect_near(parts.seen.effective_keys, whole.seen.effective_keys, 130 * 128 * kEps, "effective keys");
  expect_near(parts.seen.set_mass, whole.seen.set_mass, 64 * kEps, "set mass");
  int64_t told_apart = 0;
  for (int64_t row = 0; row < whole.lse.numel(); ++row) {
    const float* w = whole.seen.top_k_weights.data() + row * 4;
    for (int64_t place = 0; place < 4; ++place) {
      const bool clear = (place == 0 || w[place - 1] - w[place] > 64 * kEps) &&
                         (place == 3 || w[place] - w[place + 1] > 64 * kEps);
      if (!clear || place == 3) continue;  // the fourth may be as strong as a fifth
      ++told_apart;
      EXPECT_EQ(parts.seen.top_k_keys.data<int64_t>()[row * 4 + place],
                whole.seen.top_k_keys.data<int64_t>()[row * 4 + place])
          << row;
    }
    if (w[0] - w[1] > 64 * kEps) {
      EXPECT_EQ(parts.seen.max_key.data<int64_t>()[row], whole.seen.max_key.data<int64_t>()[row]) << row;
    }
  }
  EXPECT_GT(told_apart, 500);  // of 3·212: nearly all weights differ
}

TEST(Merge, KeyMassOfAPartTakesTheLseOfAll) {
  const Split s;
  const AttentionResult whole = attention(s.arrays.inputs, {}, observe::key_mass), parts = merged(s);
  for (const auto& [from, to] : kParts) {
    const Split::Part part = s.part(from, to);
    const Tensor mass = attention_key_mass(s.inputs(part), {}, parts.lse.data());
    for (size_t j = 0; j < part.rows.size(); ++j) {
      for (int64_t h = 0; h < 4; ++h) {  // a sum of 50 weights, each off by 64ε of itself
        const float expected = whole.seen.key_mass.data()[part.rows[j] * 4 + h];
        EXPECT_NEAR(mass.data()[static_cast<int64_t>(j) * 4 + h], expected, 80 * kEps * (expected + 1));
      }
    }
  }
}

TEST(Merge, SaysWhatCannotBeMerged) {
  const Split s;
  const Split::Part part = s.part(0, 10);
  AttentionResult a = attention(s.inputs(part), {}, observe::entropy), b = attention(s.inputs(part));
  EXPECT_ERROR(merge(a, b, s.arrays.q_offsets, part.first), ArgumentError,
               "[merge] expected parts with entropy of equal shape, got [62, 4] and none");
  AttentionResult mass = attention(s.inputs(part), {}, observe::key_mass);
  EXPECT_ERROR(
      merge(mass, mass, s.arrays.q_offsets, part.first), ArgumentError,
      "[merge] expected parts without key_mass, which takes the lse of all parts: attention_key_mass");
  const int64_t one[] = {0};
  EXPECT_ERROR(merge(b, b, s.arrays.q_offsets, one), ArgumentError,
               "[merge] expected the first key of each of the 3 sequences, got 1");
  const float sink[] = {0.0f};
  EXPECT_ERROR(merge_sinks(b, sink), ArgumentError,
               "[merge_sinks] expected one sink for each of the 4 heads, got 1");
}

}  // namespace
}  // namespace fovea::testing
