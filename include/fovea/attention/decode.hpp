// Attention of a few new queries on caches of past keys: decoding. Memory-bound: every key and value is read
// once for all queries and grouped heads. Keys are cut by a cache's own length and the parts merged in order,
// so results have the same bits for any number of threads and in any batch. float32 arithmetic on whatever
// the cache holds, but for 16-bit products where precision allows them. Thread-safe as long as no cache
// changes.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "fovea/attention/inputs.hpp"
#include "fovea/attention/kv_cache.hpp"
#include "fovea/attention/observe.hpp"
#include "fovea/attention/softmax.hpp"
#include "fovea/attention/spec.hpp"

namespace fovea {

// The arrays of a decoding call: borrowed, float32. The caches are of equal heads and widths; at least one.
struct DecodeInputs {
  HeadsView<const float> q{};  // [Tq, H, D], Hkv divides H
  Offsets q_offsets{};         // N sequences, usually of 1 to 8 queries …
  std::span<const KvCache* const>
      caches{};  // … and the cache of each, which holds the queries' own tokens too
  std::span<const float> alibi_slopes{};  // [H] or empty
  RelativeBias relative{};                // a table by distance, as in AttentionInputs
  std::span<const float> sinks{};         // [H] or empty
};

// out[i] = Σ_j softmax_j(scale·q_i·k_j + …)·v_j over the cache of query i's sequence, the last query standing
// at the last token. out [Tq, H, Dv]; lse [Tq, H], natural, null when not wanted; the options of
// AttentionSpec hold, but for dropout and top_k. Cosine scores take |k|² of each cached key, which costs as
// much as one query more; scores that are distances widen the caches to float32 for the call. Insight as in
// attention_forward, key_mass [Σ cache lengths, H] in the order of the caches. ArgumentError for shapes that
// do not fit and for those options.
// spec.precision: with kFast three rows (queries × grouped heads) or more are multiplied in 16 bits on bf16
// caches (queries and weights rounded to bf16, on processors with AVX-512-BF16) and on int8 caches (to 16
// bits of a row's largest number); sums, softmax and lse are of 32 bits.
void attention_decode(const DecodeInputs& inputs, const AttentionSpec& spec, HeadsView<float> out,
                      SoftmaxOutput softmax, const Observers& observers = {}, Insight* seen = nullptr);

// The arrays of a decoding call whose queries are BFloat16 or Float16; everything else stays float32.
template <class T>
struct HalfDecodeInputs {
  HeadsView<const T> q{};  // [Tq, H, D]
  DecodeInputs rest{};     // its own q is not looked at
};

// The same for 16-bit queries, T BFloat16 or Float16: they are widened, exactly, and out is rounded to T
// once. The caches may hold any type. bf16 queries are multiplied as with kFast.
template <class T>
void attention_decode(const HalfDecodeInputs<T>& inputs, const AttentionSpec& spec,
                      std::type_identity_t<HeadsView<T>> out, SoftmaxOutput softmax,
                      const Observers& observers = {}, Insight* seen = nullptr);

// Exact weights of chosen queries on demand, as attention_rows of attention.hpp gives them: queries are rows
// of q, the caches unchanged since. One cache at a time is widened to float32.
Ragged attention_decode_rows(const DecodeInputs& inputs, const AttentionSpec& spec,
                             std::span<const int64_t> queries, const float* shares = nullptr);
template <class T>
Ragged attention_decode_rows(const HalfDecodeInputs<T>& inputs, const AttentionSpec& spec,
                             std::span<const int64_t> queries, const float* shares = nullptr);

}  // namespace fovea
