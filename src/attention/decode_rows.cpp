// Exact rows of a decoding call.
#include <algorithm>
#include <cstring>
#include <vector>

#include "attention/decode_shapes.hpp"
#include "attention/resolve.hpp"
#include "attention/score.hpp"
#include "attention/sequence.hpp"
#include "attention/widen.hpp"
#include "base/check.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr const char* kCall = "attention_decode_rows";

// The keys of a cache, [length, Hkv, D], widened to float32.
Tensor keys_of(const KvCache& cache) {
  const int64_t heads = cache.options().kv_heads, width = cache.options().width;
  Tensor keys = Tensor::empty({cache.length(), heads, width});
  parallel_for(cache.length(), 64, [&](int64_t begin, int64_t end) {
    Buffer<float> value(static_cast<size_t>(heads * cache.options().value_width));
    for (int64_t i = begin; i < end; ++i) cache.read(i, keys.data() + i * heads * width, value.data());
  });
  return keys;
}

}  // namespace

Ragged attention_decode_rows(const DecodeInputs& in, const AttentionSpec& spec,
                             std::span<const int64_t> queries, const float* shares) {
  std::vector<int64_t> lengths;
  const AttentionInputs shapes = decode_shapes(kCall, in, lengths);
  const Resolved r = resolve(kCall, shapes, spec);
  check_argument(spec.top_k == 0 && spec.dropout == 0, kCall, "expected the options of attention_decode");
  const auto starts = in.q_offsets.values();
  std::vector<int64_t> sequences, row_lengths;
  for (const int64_t t : queries) {
    check_argument(t >= 0 && t < in.q_offsets.total(), kCall, "expected queries in [0, {}), got {}",
                   in.q_offsets.total(), t);
    sequences.push_back(std::upper_bound(starts.begin(), starts.end(), t) - starts.begin() - 1);
    row_lengths.push_back(lengths[static_cast<size_t>(sequences.back())]);
  }
  Ragged rows{Tensor(), Offsets::from_lengths(row_lengths)};
  rows.tokens = Tensor::empty({rows.offsets.total(), r.heads});
  for (int64_t n = 0; n < r.sequences; ++n) {  // one cache at a time is widened
    std::vector<int64_t> chosen, places;
    for (size_t row = 0; row < queries.size(); ++row) {
      if (sequences[row] != n) continue;
      chosen.push_back(queries[row] - in.q_offsets.begin(n));
      places.push_back(static_cast<int64_t>(row));
    }
    if (chosen.empty()) continue;
    const int64_t lq = in.q_offsets.length(n), lk = lengths[static_cast<size_t>(n)];
    Tensor q = Tensor::empty({lq, r.heads, in.q.dim(2)});
    for (int64_t i = 0; i < lq; ++i) {
      for (int64_t h = 0; h < r.heads; ++h)
        std::copy_n(row_of(in.q, in.q_offsets, n, i, h), in.q.dim(2),
                    q.data() + (i * r.heads + h) * in.q.dim(2));
    }
    const Tensor k = keys_of(*in.caches[static_cast<size_t>(n)]);
    AttentionInputs one = shapes;
    one.q = heads_view<float>(std::as_const(q));
    one.k = heads_view<float>(k);
    one.v = one.k;  // values have no part in the weights
    one.q_offsets = Offsets::single(lq);
    one.k_offsets = Offsets::single(lk);
    const Ragged found = attention_rows(
        one, spec, chosen, shares == nullptr ? nullptr : shares + in.q_offsets.begin(n) * r.heads);
    for (size_t c = 0; c < chosen.size(); ++c) {
      std::copy_n(found.tokens.data() + found.offsets.begin(static_cast<int64_t>(c)) * r.heads, lk * r.heads,
                  rows.tokens.data() + rows.offsets.begin(places[c]) * r.heads);
    }
  }
  return rows;
}

template <class T>
Ragged attention_decode_rows(const HalfDecodeInputs<T>& in, const AttentionSpec& spec,
                             std::span<const int64_t> queries, const float* shares) {
  check_argument(in.q.stride(2) == 1 && in.q.dim(0) == in.rest.q_offsets.total(), kCall,
                 "expected q [{}, H, D] with an innermost stride of 1, got [{}, {}, {}]",
                 in.rest.q_offsets.total(), in.q.dim(0), in.q.dim(1), in.q.dim(2));
  const Tensor wide_q = widened(in.q, in.rest.q_offsets);
  DecodeInputs wide = in.rest;
  wide.q = heads_view<float>(wide_q);
  return attention_decode_rows(wide, spec, queries, shares);
}

template Ragged attention_decode_rows(const HalfDecodeInputs<BFloat16>&, const AttentionSpec&,
                                      std::span<const int64_t>, const float*);
template Ragged attention_decode_rows(const HalfDecodeInputs<Float16>&, const AttentionSpec&,
                                      std::span<const int64_t>, const float*);

}  // namespace fovea
