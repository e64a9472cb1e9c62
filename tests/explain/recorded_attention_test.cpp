#include "fovea/explain/recorded_attention.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "fovea/attention/attention.hpp"
#include "fovea/base/error.hpp"
#include "fovea/base/random.hpp"

namespace fovea::explain {
namespace {

Tensor normal(const Shape& shape, uint64_t seed) {
  Tensor t = Tensor::empty(shape);
  Random random(seed);
  for (float& x : t.span()) x = static_cast<float>(random.normal());
  return t;
}

HeadsView<const float> view(const Tensor& t) {
  return contiguous_view<const float, 3>(t.data(), {t.dim(0), t.dim(1), t.dim(2)});
}

TEST(RecordedAttention, GivesTheSameRowsAsTheWholeCall) {
  constexpr int64_t kHeads = 4, kKeyHeads = 2, kWidth = 16, kTokens = 40, kBuckets = 8;
  const Offsets offsets({0, 7, 7, 40});
  const Tensor q = normal({kTokens, kHeads, kWidth}, 1), k = normal({kTokens, kKeyHeads, kWidth}, 2),
               v = normal({kTokens, kKeyHeads, kWidth}, 3), table = normal({kBuckets, kHeads}, 4);
  const std::vector<float> slopes{0.5F, 0.25F, 0.1F, 0.0F}, sinks{0.1F, -1.0F, 2.0F, 0.0F};
  const std::vector<float> scales{0.2F, 0.25F, 0.5F, 1.0F};
  AttentionInputs inputs{.q = view(q),
                         .k = view(k),
                         .v = view(v),
                         .q_offsets = offsets,
                         .k_offsets = offsets,
                         .alibi_slopes = slopes,
                         .relative = {table.data(), kBuckets, 16, true},
                         .scales = scales,
                         .sinks = sinks};
  for (const bool causal : {false, true}) {
    AttentionSpec spec;
    spec.causal = causal;
    const AttentionResult result = attention(inputs, spec);
    const RecordedAttention recorded(inputs, spec);
    EXPECT_EQ(recorded.heads(), kHeads);
    for (int64_t query = 0; query < kTokens; ++query) {
      const std::vector<int64_t> queries{query};
      const Ragged expected = attention_rows(inputs, spec, queries);
      const auto keys = static_cast<size_t>(expected.offsets.total());
      std::vector<float> row(keys), mean(keys), expected_mean(keys);
      for (int64_t head = 0; head < kHeads; ++head) {
        recorded.rows(head, query, query + 1, row.data());
        for (size_t j = 0; j < keys; ++j) {
          const float w = expected.tokens.data()[static_cast<int64_t>(j) * kHeads + head];
          EXPECT_NEAR(row[j], w, 1e-6F)
              << query << ' ' << head << ' ' << j;  // the same sums, perhaps of other lanes
          expected_mean[j] += w / kHeads;
        }
      }
      recorded.head_mean(query, mean);
      for (size_t j = 0; j < keys; ++j) EXPECT_NEAR(mean[j], expected_mean[j], 1e-6F);
    }
    std::vector<float> block(33 * 33);
    recorded.rows(1, 7, 40, block.data());
    EXPECT_THROW(recorded.rows(4, 0, 1, block.data()), ArgumentError);
    EXPECT_THROW(recorded.rows(0, 0, 41, block.data()), ArgumentError);
    EXPECT_THROW(recorded.rows(0, 5, 9, std::vector<float>(200).data()), ArgumentError);  // two sequences
  }
  inputs.bias.data = scales.data();
  EXPECT_THROW(RecordedAttention(inputs, {}), ArgumentError);
}

TEST(RecordedAttention, ReadsHeadsOfABatchWhereTheyLie) {
  constexpr int64_t kBatch = 3, kHeads = 2, kLength = 5, kWidth = 8;
  const Tensor q = normal({kBatch, kHeads, kLength, kWidth}, 1),
               k = normal({kBatch, kHeads, kLength, kWidth}, 2);
  const Offsets offsets({0, 5, 10, 15});
  AttentionInputs inputs;
  inputs.q = heads_of_batch(q.data(), kBatch, kHeads, kLength, kWidth);
  inputs.k = heads_of_batch(k.data(), kBatch, kHeads, kLength, kWidth);
  inputs.v = inputs.k;
  inputs.q_offsets = offsets;
  inputs.k_offsets = offsets;
  const RecordedAttention recorded(inputs, {});
  for (int64_t query = 0; query < kBatch * kLength; ++query) {
    const Ragged expected = attention_rows(inputs, {}, std::vector<int64_t>{query});
    for (int64_t head = 0; head < kHeads; ++head) {
      std::vector<float> row(kLength);
      recorded.rows(head, query, query + 1, row.data());
      for (int64_t j = 0; j < kLength; ++j)
        EXPECT_NEAR(row[static_cast<size_t>(j)], expected.tokens.data()[j * kHeads + head], 1e-6F)
            << query << ' ' << head << ' ' << j;
    }
  }
}

}  // namespace
}  // namespace fovea::explain
