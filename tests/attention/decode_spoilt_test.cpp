// NaN and ∞ in caches and in queries that decode on them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fovea/attention/decode.hpp"
#include "fovea/attention/plan.hpp"
#include "tests/attention/decode_problem.hpp"

namespace fovea::testing {
namespace {

void expect_spoilt_numbers_reach_only_queries_that_see_them(Precision precision) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      for (const int64_t queries : {2, 3, 8}) {
        for (const bool in_value : {false, true}) {
          const int64_t keys = 150, d = 24, dv = 40;
          Tensor k = random_tensor(1, {keys, 1, d}), v = random_tensor(2, {keys, 1, dv});
          const Tensor q = random_tensor(3, {queries, 2, d});
          const auto run = [&](Insight& seen) {
            KvCache cache({1, d, dv, type, 16, 0});
            cache.append(view_of(k), view_of(v));
            const KvCache* pointer = &cache;
            DecodeInputs inputs;
            inputs.q_offsets = Offsets::from_lengths(std::vector<int64_t>{queries});
            inputs.q = view_of(q);
            inputs.caches = {&pointer, 1};
            AttentionSpec spec;
            spec.causal = true;
            spec.precision = precision;
            Tensor out = Tensor::full({queries, 2, dv}, NAN), lse = Tensor::full({queries, 2}, NAN);
            attention_decode(inputs, spec, out_view(out), lse.data(), observe::key_mass, &seen);
            return out;
          };
          Insight clean_seen, seen;
          const Tensor clean = run(clean_seen);
          (in_value ? v : k).data()[(keys - 1) * (in_value ? dv : d) + 3] = in_value ? INFINITY : NAN;
          const Tensor got = run(seen);
          SCOPED_TRACE(
              fmt::format("{} {} queries {} {}", to_string(isa), static_cast<int>(type), queries, in_value));
          expect_same_bits(clean.rows(0, queries - 1), got.rows(0, queries - 1), "output");
          for (const int64_t h : {0, 1}) {
            bool finite = true;
            for (int64_t c = 0; c < dv; ++c)
              finite = finite && std::isfinite(got.data()[((queries - 1) * 2 + h) * dv + c]);
            EXPECT_FALSE(finite);
            // The last query sees all keys: a NaN among its scores spoils its weights, one among values does
            // not.
            for (int64_t j = 0; j < keys; ++j)
              EXPECT_EQ(std::isnan(seen.key_mass.data()[j * 2 + h]), !in_value) << j;
          }
        }
      }
    }
  }
}

// A NaN or ∞ in the last key or value of a cache reaches the last query only, in its bits.
TEST(Decode, SpoiltNumbersReachOnlyTheQueriesThatSeeThem) {
  expect_spoilt_numbers_reach_only_queries_that_see_them(Precision::kStrict);
}
TEST(Decode, SpoiltNumbersReachOnlyTheQueriesThatSeeThemIn16Bits) {
  set_attention_kernel("software_bf16");
  expect_spoilt_numbers_reach_only_queries_that_see_them(Precision::kFast);
  set_attention_kernel("");
  expect_spoilt_numbers_reach_only_queries_that_see_them(Precision::kFast);
}

// Nor does a query that is NaN spoil the mass of keys that it does not see.
TEST(Decode, ASpoiltQueryReachesOnlyTheMassOfKeysThatItSees) {
  for (const Isa isa : available_isas()) {
    const UseIsa use(isa);
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kInt8}) {
      KvCache cache({1, 32, 32, type, 16, 0});
      const Tensor k = random_tensor(1, {40, 1, 32});
      cache.append(view_of(k), view_of(k));
      const KvCache* pointer = &cache;
      Tensor q = random_tensor(3, {4, 1, 32});
      q.data()[0] = NAN;  // it sees 37 keys
      DecodeInputs inputs;
      inputs.q_offsets = Offsets::from_lengths(std::vector<int64_t>{4});
      inputs.q = view_of(q);
      inputs.caches = {&pointer, 1};
      AttentionSpec spec;
      spec.causal = true;
      spec.precision = Precision::kFast;  // of no matter to float32 caches
      Tensor out = Tensor::empty({4, 1, 32}), lse = Tensor::empty({4, 1});
      Insight seen;
      attention_decode(inputs, spec, out_view(out), lse.data(), observe::key_mass, &seen);
      for (int64_t j = 0; j < 40; ++j)
        EXPECT_EQ(std::isnan(seen.key_mass.data()[j]), j < 37) << to_string(isa) << " " << j;
      for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(out.data()[i * 32]), i == 0);
    }
  }
}

}  // namespace
}  // namespace fovea::testing
