// Decoding on caches against float64 on what the cache holds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "fovea/attention/decode.hpp"
#include "fovea/base/cpu.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/decode_problem.hpp"
#include "tests/support/expect_error.hpp"

namespace fovea::testing {
namespace {

TEST(Decode, EqualsFloat64OnEveryTypeAndLength) {
  on_every_isa([] {
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      for (const int64_t keys : {0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1000}) {
        DecodeCase c;
        c.type = type;
        c.k_lengths = {keys};
        Decoded x;
        prepare(c, x);
        decode(c, x);
        expect_near_reference(c, x);
      }
    }
  });
}

// Kernels take rows (queries × grouped heads) by the vector, by two vectors, and what is left of them.
TEST(Decode, EqualsFloat64ForEveryNumberOfRows) {
  on_every_isa([] {
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      for (const int64_t queries : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 33}) {
        DecodeCase c;
        c.type = type;
        c.q_lengths = {queries, queries};
        c.k_lengths = {queries + 2, 150};
        c.heads = c.kv_heads = 1;
        c.d = 130;
        c.dv = 72;
        c.block = 64;
        c.spec.causal = queries % 2 == 1;
        Decoded x;
        prepare(c, x);
        decode(c, x);
        SCOPED_TRACE(queries);
        expect_near_reference(c, x);
      }
    }
  });
}

// Blocks of several runs, the last of them short, begun in the midst of one; blocks shorter than a run.
TEST(Decode, EqualsFloat64WhateverTheBlocks) {
  on_every_isa([] {
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      for (const int64_t block : {1, 7, 128, 150, 300, 1000}) {
        for (const int64_t queries : {1, 5}) {
          DecodeCase c;
          c.type = type;
          c.q_lengths = {queries};
          c.k_lengths = {613};
          c.heads = c.kv_heads = 2;
          c.d = 144;
          c.dv = 90;
          c.block = block;
          c.evicted = 37;
          c.spec.causal = true;
          Decoded x;
          prepare(c, x);
          decode(c, x);
          SCOPED_TRACE(::testing::Message() << block << " tokens a block, " << queries << " queries");
          expect_near_reference(c, x);
        }
      }
    }
  });
}

TEST(Decode, EqualsFloat64WithEveryOption) {
  on_every_isa([] {
    const auto check = [](auto&& change) {
      DecodeCase c;
      c.q_lengths = {1, 3, 8, 0, 5};
      c.k_lengths = {70, 3, 700, 9, 0};
      c.kv_heads = 1;
      change(c);
      Decoded x;
      prepare(c, x);
      decode(c, x);
      expect_near_reference(c, x);
    };
    check([](DecodeCase&) {});
    check([](DecodeCase& c) { c.spec.causal = true; });
    check([](DecodeCase& c) { c.spec.causal = true, c.spec.window_left = 20, c.type = CacheType::kInt8; });
    check([](DecodeCase& c) { c.sinks = true, c.spec.softcap = 3.0f, c.type = CacheType::kF16; });
    check([](DecodeCase& c) { c.alibi = true, c.evicted = 13, c.kv_heads = 4; });
    check([](DecodeCase& c) { c.d = 64, c.dv = 64, c.type = CacheType::kBF16; });
    check([](DecodeCase& c) { c.d = 127, c.dv = 1, c.block = 1; });
    check([](DecodeCase& c) { c.d = 1, c.dv = 33, c.block = 1000; });
  });
}

TEST(Decode, SameBitsForAnyNumberOfThreadsInAnyBatch) {
  DecodeCase c;
  c.q_lengths = {2, 1, 4};
  c.k_lengths = {1500, 30, 3000};
  Decoded x;
  prepare(c, x);
  expect_same_bits_on_any_threads(c, x);
  for (int64_t n = 0; n < 3; ++n) {
    const int64_t begin = x.inputs.q_offsets.begin(n), end = x.inputs.q_offsets.end(n);
    Tensor alone = Tensor::zeros({end - begin, c.heads, c.dv});
    DecodeInputs inputs;
    inputs.q = view_of(x.q.rows(begin, end));
    inputs.q_offsets = Offsets::single(end - begin);
    inputs.caches = std::span<const KvCache* const>(x.pointers.data() + n, 1);
    attention_decode(inputs, c.spec, out_view(alone), nullptr);
    expect_same_bits(alone, x.out.rows(begin, end).clone(), "out alone");
  }
}

TEST(Decode, ObserversSeeTheWeightsAndChangeNothing) {
  DecodeCase c;
  c.q_lengths = {3, 1};
  c.k_lengths = {600, 50};
  c.sinks = true;
  c.spec.causal = true;
  Decoded x;
  prepare(c, x);
  decode(c, x);
  const Tensor out = x.out.clone();
  decode(c, x, observe::entropy | observe::max | observe::top_k(5) | observe::key_mass);
  expect_same_bits(x.out, out, "out");
  int64_t k0 = 0;
  for (int64_t n = 0; n < 2; ++n) {
    const reference::Attention r = reference_of(c, x, n);
    std::vector<double> mass(static_cast<size_t>(r.lk * c.heads));
    for (int64_t h = 0; h < c.heads; ++h) {
      for (int64_t i = 0; i < r.lq; ++i) {
        const int64_t at = (x.inputs.q_offsets.begin(n) + i) * c.heads + h;
        double entropy = 0, rest = 1, most = 0;
        for (int64_t j = 0; j < r.lk; ++j) {
          const double weight = r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)];
          mass[static_cast<size_t>(j * c.heads + h)] += weight;
          rest -= weight;
          most = std::max(most, weight);
          if (weight > 0) entropy -= weight * std::log(weight);
        }
        if (rest > 0) entropy -= rest * std::log(rest);
        const double w = weight_tolerance(c, r);
        EXPECT_NEAR(static_cast<double>(x.seen.max_weight.data()[at]), most, w);
        EXPECT_NEAR(static_cast<double>(x.seen.top_k_weights.data()[at * 5]), most, w);
        EXPECT_EQ(x.seen.max_key.data<int64_t>()[at], x.seen.top_k_keys.data<int64_t>()[at * 5]);
        EXPECT_NEAR(static_cast<double>(x.seen.entropy.data()[at]), entropy,
                    20 * w);  // |ln w| + 1 <= 20 here
        const auto key = static_cast<size_t>(x.seen.top_k_keys.data<int64_t>()[at * 5 + 4]);
        EXPECT_NEAR(static_cast<double>(x.seen.top_k_weights.data()[at * 5 + 4]),
                    r.weights[static_cast<size_t>((h * r.lq + i) * r.lk) + key], w);
      }
    }
    for (size_t i = 0; i < mass.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(x.seen.key_mass.data()[k0 * c.heads + static_cast<int64_t>(i)]),
                  mass[i], weight_tolerance(c, r) * static_cast<double>(r.lq));
    }
    k0 += r.lk;
  }
}

TEST(Decode, NamesWhatIsWrong) {
  DecodeCase c;
  Decoded x;
  prepare(c, x);
  c.spec.dropout = 0.5f;
  EXPECT_ERROR(decode(c, x), ArgumentError, "[attention_decode] expected no dropout, got 0.5");
  c.spec = {.top_k = 3};
  EXPECT_ERROR(decode(c, x), ArgumentError, "[attention_decode] expected no top_k, got 3");
  c.spec = {};
  const Tensor narrow = Tensor::zeros({1, 4, 8});
  x.inputs.q = view_of(narrow);
  EXPECT_ERROR(decode(c, x), ArgumentError,
               "[attention_decode] expected q and k of equal width, got 8 and 24");
  x.inputs.caches = {};
  EXPECT_ERROR(decode(c, x), ArgumentError,
               "[attention_decode] expected one cache for each of the 1 sequences, got 0");
}

template <class T>
void expect_half_equals_widened() {
  DecodeCase c;
  c.q_lengths = {2, 1};
  c.k_lengths = {40, 9};
  c.alibi = c.sinks = true;
  c.type = CacheType::kBF16;
  Decoded x;
  prepare(c, x);
  const Tensor q = x.q.to(dtype_of<T>), wide = q.to(DType::kF32);
  x.inputs.q = view_of(wide);
  // bf16 queries are multiplied as bf16 where the cache allows it.
  if (dtype_of<T> == DType::kBF16) c.spec.precision = Precision::kFast;
  decode(c, x);
  c.spec.precision = Precision::kStrict;
  Tensor out = Tensor::zeros({3, 4, 20}, dtype_of<T>), lse = Tensor::zeros({3, 4});
  HalfDecodeInputs<T> in{contiguous_view<const T, 3>(q.data<T>(), {3, 4, 24}), x.inputs};
  in.rest.q = {};
  attention_decode(in, c.spec, contiguous_view<T, 3>(out.data<T>(), {3, 4, 20}), lse.data());
  expect_same_bits(out, x.out.to(dtype_of<T>), "out");
  expect_same_bits(lse, x.lse, "lse");
  EXPECT_ERROR(attention_decode(in, c.spec, contiguous_view<T, 3>(out.data<T>(), {3, 2, 20}), lse.data()),
               ArgumentError,
               "[attention_decode] expected out [3, 4, Dv] with an innermost stride of 1, got [3, 2, 20]");
}

TEST(Decode, RowsAreTheWeightsOfWhatTheCacheHolds) {
  for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kInt8}) {
    DecodeCase c;
    c.q_lengths = {2, 0, 3};
    c.k_lengths = {40, 7, 130};
    c.evicted = 5;
    c.type = type;
    c.spec.causal = true;
    c.spec.softcap = 2.0f;
    c.alibi = c.sinks = true;
    Decoded x;
    prepare(c, x);
    decode(c, x);
    const std::vector<int64_t> queries{4, 0, 2, 4};
    const std::vector<std::pair<int64_t, int64_t>> places{{2, 2}, {0, 0}, {2, 0}, {2, 2}};
    const Ragged rows = attention_decode_rows(x.inputs, c.spec, queries);
    ASSERT_EQ(rows.offsets.count(), 4);
    for (size_t row = 0; row < queries.size(); ++row) {
      const auto [n, i] = places[row];
      const reference::Attention want = reference_of(c, x, n);
      ASSERT_EQ(rows.offsets.length(static_cast<int64_t>(row)), want.lk);
      for (int64_t j = 0; j < want.lk; ++j) {
        for (int64_t h = 0; h < c.heads; ++h) {
          const double got = static_cast<double>(
              rows.tokens.data()[(rows.offsets.begin(static_cast<int64_t>(row)) + j) * c.heads + h]);
          // Weights from an lse below 8 that is off by a few rounding errors of its size: 64ε.
          EXPECT_NEAR(got, want.weights[static_cast<size_t>((h * want.lq + i) * want.lk + j)],
                      64 * kDecodeEps)
              << row << ' ' << h << ' ' << j;
        }
      }
    }
    const std::vector<int64_t> outside{5};
    EXPECT_ERROR(attention_decode_rows(x.inputs, c.spec, outside), ArgumentError,
                 "[attention_decode_rows] expected queries in [0, 5), got 5");
  }
}

TEST(Decode, HalfQueriesAreWidenedAndRoundedOnce) {
  expect_half_equals_widened<BFloat16>();
  expect_half_equals_widened<Float16>();
}

TEST(Decode, TakesEveryScoreOnEveryKindOfCache) {
  on_every_isa([] {
    for (const ScoreName& known : kScoreNames) {
      for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
        for (const int64_t queries : {1, 2, 5}) {
          for (const int64_t d : {1, 24, 64}) {
            SCOPED_TRACE(fmt::format("{} {} queries of {}", known.name, queries, d));
            DecodeCase c;
            c.q_lengths = {queries, 1};
            c.k_lengths = {131, 7};
            c.d = d;
            c.type = type;
            c.alibi = c.sinks = true;
            c.spec.score = known.score;
            c.spec.causal = true;
            c.spec.softcap = queries == 5 ? 3.0f : 0.0f;
            const auto width = static_cast<float>(d);
            c.spec.scale = known.score == Score::kCosine ? 4.0f : 0.2f / std::sqrt(width);
            Decoded x;
            prepare(c, x);
            decode(c, x);
            expect_near_reference(c, x);
            std::vector<int64_t> rows(static_cast<size_t>(x.q.dim(0)));
            std::iota(rows.begin(), rows.end(), int64_t{0});
            const Ragged weights = attention_decode_rows(x.inputs, c.spec, rows);
            const reference::Attention r = reference_of(c, x, 0);
            for (int64_t i = 0; i < queries; ++i) {
              for (int64_t j = 0; j < r.lk; ++j) {
                for (int64_t h = 0; h < c.heads; ++h)
                  ASSERT_NEAR(static_cast<double>(weights.tokens.data()[(i * r.lk + j) * c.heads + h]),
                              r.weights[static_cast<size_t>((h * r.lq + i) * r.lk + j)],
                              weight_tolerance(c, r));
              }
            }
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace fovea::testing
