// Exact rows on demand, and merging of partial results.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention/kept.hpp"
#include "attention/merge.hpp"
#include "attention/plain.hpp"
#include "attention/score.hpp"
#include "base/check.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

// The weights of queries that keep a few keys.
void kept_rows(const AttentionInputs& in, const Resolved& r, std::span<const int64_t> queries,
               const float* shares, Ragged& rows) {
  std::fill_n(rows.tokens.data(), rows.tokens.numel(), 0.0f);
  // (token, row of the result), by token
  std::vector<std::pair<int64_t, int64_t>> places;
  for (size_t row = 0; row < queries.size(); ++row)
    places.emplace_back(queries[row], static_cast<int64_t>(row));
  std::sort(places.begin(), places.end());
  const auto from = [&](int64_t token) {
    return std::lower_bound(places.begin(), places.end(), std::pair<int64_t, int64_t>{token, 0});
  };
  const auto wanted = [&](const RowChunk& chunk) {
    const int64_t q0 = in.q_offsets.begin(chunk.n);
    return from(q0 + chunk.begin) != from(q0 + chunk.end);
  };
  for_kept_rows(in, r, wanted, [&](const KeptRow& row) {
    const int64_t t = in.q_offsets.begin(row.n) + row.i;
    const float share = shares == nullptr ? 1.0f : shares[t * r.heads + row.h];
    for (auto at = from(t); at != places.end() && at->first == t; ++at) {
      float* to = rows.tokens.data() + rows.offsets.begin(at->second) * r.heads + row.h;
      for (int64_t s = 0; s < row.count; ++s) to[row.kept[s].key * r.heads] = share * row.kept[s].weight;
    }
  });
}

}  // namespace

Ragged attention_rows(const AttentionInputs& given, const AttentionSpec& spec,
                      std::span<const int64_t> queries, const float* shares) {
  const Resolved r = resolve("attention_rows", given, spec);
  const WithRows rows_of_score(given, spec.score);
  const AttentionInputs& in = rows_of_score.inputs;
  const auto starts = in.q_offsets.values();
  std::vector<int64_t> sequences, lengths;
  for (const int64_t t : queries) {
    check_argument(t >= 0 && t < in.q_offsets.total(), "attention_rows",
                   "expected queries in [0, {}), got {}", in.q_offsets.total(), t);
    sequences.push_back(std::upper_bound(starts.begin(), starts.end(), t) - starts.begin() - 1);
    lengths.push_back(in.k_offsets.length(sequences.back()));
  }
  Ragged rows{Tensor(), Offsets::from_lengths(lengths)};
  rows.tokens = Tensor::empty({rows.offsets.total(), r.heads});
  float* out = rows.tokens.data();
  if (r.top_k > 0) {
    kept_rows(in, r, queries, shares, rows);
    return rows;
  }
  const auto count = static_cast<int64_t>(queries.size());
  parallel_for(count * r.heads, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> weights(static_cast<size_t>(in.k_offsets.max_length()));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t row = item / r.heads, h = item % r.heads;
      const int64_t t = queries[static_cast<size_t>(row)], n = sequences[static_cast<size_t>(row)];
      plain_weights(in, r, n, h, t - in.q_offsets.begin(n), weights.data());
      const double share = shares == nullptr ? 1.0 : static_cast<double>(shares[t * r.heads + h]);
      for (int64_t j = 0; j < in.k_offsets.length(n); ++j) {
        out[(rows.offsets.begin(row) + j) * r.heads + h] =
            static_cast<float>(share * weights[static_cast<size_t>(j)]);
      }
    }
  });
  return rows;
}

void merge(SoftmaxState& into, const SoftmaxState& part) {
  check_argument(into.out.shape() == part.out.shape() && into.lse.shape() == part.lse.shape(), "merge",
                 "expected parts of equal shape, got {} and {}", to_string(into.out.shape()),
                 to_string(part.out.shape()));
  const int64_t rows = into.lse.numel();
  check_argument(rows == 0 || into.out.numel() % rows == 0, "merge",
                 "expected out [T, H, Dv] and lse [T, H], got {} and {}", to_string(into.out.shape()),
                 to_string(into.lse.shape()));
  const int64_t width = rows == 0 ? 0 : into.out.numel() / rows;
  for (int64_t row = 0; row < rows; ++row) {
    SoftmaxRow own = softmax_row_of(into.lse.data()[row]);
    merge_row(into.out.data() + row * width, own, part.out.data() + row * width,
              softmax_row_of(part.lse.data()[row]), width);
    into.lse.data()[row] = lse_of(own);
  }
}

}  // namespace fovea
