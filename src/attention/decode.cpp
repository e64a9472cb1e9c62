#include "fovea/attention/decode.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "attention/decode_call.hpp"
#include "attention/decode_shapes.hpp"
#include "attention/merge.hpp"
#include "attention/sequence.hpp"
#include "attention/widen.hpp"
#include "base/check.hpp"
#include "fovea/base/parallel.hpp"

namespace fovea {
namespace {

constexpr const char* kCall = "attention_decode";

}  // namespace

AttentionInputs decode_shapes(const char* call, const DecodeInputs& in, std::vector<int64_t>& lengths) {
  check_argument(static_cast<int64_t>(in.caches.size()) == in.q_offsets.count(), call,
                 "expected one cache for each of the {} sequences, got {}", in.q_offsets.count(),
                 in.caches.size());
  check_argument(!in.caches.empty(), call, "expected at least one sequence, got none");
  for (const KvCache* cache : in.caches) {
    check_argument(cache != nullptr, call, "expected caches, got a null pointer");
    const KvCacheOptions &a = cache->options(), &b = in.caches.front()->options();
    check_argument(a.kv_heads == b.kv_heads && a.width == b.width && a.value_width == b.value_width, call,
                   "expected caches of equal heads and widths, got [{}, {}, {}] and [{}, {}, {}]", b.kv_heads,
                   b.width, b.value_width, a.kv_heads, a.width, a.value_width);
    lengths.push_back(cache->length());
  }
  const KvCacheOptions& o = in.caches.front()->options();
  AttentionInputs shapes;
  shapes.q = in.q;
  shapes.q_offsets = in.q_offsets;
  shapes.k_offsets = Offsets::from_lengths(lengths);
  const int64_t tokens = shapes.k_offsets.total();
  // Checked by shape; never read. q's address stands for "there is data".
  shapes.k = contiguous_view<const float, 3>(in.q.data, {tokens, o.kv_heads, o.width});
  shapes.v = contiguous_view<const float, 3>(in.q.data, {tokens, o.kv_heads, o.value_width});
  shapes.alibi_slopes = in.alibi_slopes;
  shapes.relative = in.relative;
  shapes.sinks = in.sinks;
  return shapes;
}

namespace {

// Scores that are differences want keys in float32: the caches are widened and the whole call made on them.
void decode_distances(const DecodeInputs& in, const AttentionInputs& shapes, const AttentionSpec& spec,
                      HeadsView<float> out, SoftmaxOutput softmax, const Observers& observers,
                      Insight* seen) {
  const KvCacheOptions& o = in.caches.front()->options();
  const int64_t tokens = shapes.k_offsets.total();
  Tensor k = Tensor::empty({tokens, o.kv_heads, o.width}),
         v = Tensor::empty({tokens, o.kv_heads, o.value_width});
  parallel_for(tokens, 64, [&](int64_t begin, int64_t end) {
    for_tokens(shapes.k_offsets, begin, end, [&](int64_t n, int64_t i, int64_t t) {
      in.caches[static_cast<size_t>(n)]->read(i, k.data() + t * o.kv_heads * o.width,
                                              v.data() + t * o.kv_heads * o.value_width);
    });
  });
  AttentionInputs wide = shapes;
  wide.k = heads_view<float>(std::as_const(k));
  wide.v = heads_view<float>(std::as_const(v));
  Tensor lse;  // of the observers
  if (seen != nullptr && observers.any()) {
    lse = Tensor::empty({in.q.dim(0), in.q.dim(1)});
    if (softmax.lse == nullptr) softmax.lse = lse.data();
  }
  attention_forward(wide, spec, out, softmax, observers, seen);
  if (!lse.defined()) return;
  if (softmax.lse != lse.data()) std::copy_n(softmax.lse, lse.numel(), lse.data());
  seen->lse = lse;
}

// Queries as given or widened from `dtype`.
void decode_call(const DecodeInputs& in, DType dtype, const AttentionSpec& spec, HeadsView<float> out,
                 const SoftmaxOutput& softmax, const Observers& observers, Insight* seen) {
  std::vector<int64_t> lengths;
  const AttentionInputs shapes = decode_shapes(kCall, in, lengths);
  const Resolved r = resolve(kCall, shapes, spec);
  check_argument(spec.top_k == 0, kCall, "expected no top_k, got {}", spec.top_k);
  check_argument(spec.dropout == 0, kCall, "expected no dropout, got {}", spec.dropout);
  check_argument(
      out.dim(0) == in.q.dim(0) && out.dim(1) == r.heads && out.dim(2) == r.dv && out.stride(2) == 1, kCall,
      "expected out [{}, {}, {}] with an innermost stride of 1, got [{}, {}, {}]", in.q.dim(0), r.heads, r.dv,
      out.dim(0), out.dim(1), out.dim(2));
  check_observers(kCall, observers, shapes.k_offsets.total(), seen);
  if (seen != nullptr) prepare_insight(shapes, observers, *seen);

  if (is_distance(spec.score)) return decode_distances(in, shapes, spec, out, softmax, observers, seen);
  const ScoreRows<float> made = make_rows<float>({spec.score, in.q, {}, in.q_offsets, shapes.k_offsets});
  DecodeCall call{shapes, r, spec, dtype};
  call.q = made.q;
  call.d = in.q.dim(2);
  call.width = in.caches.front()->padded_width();
  call.value_width = in.caches.front()->padded_value_width();
  for (const KvCache* cache : in.caches) call.keys.push_back({.type = cache->options().type, .cache = cache});
  SoftmaxOutput rows = softmax;
  if (seen != nullptr && observers.any()) {
    seen->lse = Tensor::empty({in.q.dim(0), r.heads});
    if (rows.lse == nullptr) rows.lse = seen->lse.data();
  }
  run_decode(call, out, rows, observers, seen);
  if (seen != nullptr && observers.any() && rows.lse != seen->lse.data())
    std::copy_n(rows.lse, seen->lse.numel(), seen->lse.data());
}

}  // namespace

void attention_decode(const DecodeInputs& in, const AttentionSpec& spec, HeadsView<float> out,
                      SoftmaxOutput softmax, const Observers& observers, Insight* seen) {
  decode_call(in, DType::kF32, spec, out, softmax, observers, seen);
}

template <class T>
void attention_decode(const HalfDecodeInputs<T>& in, const AttentionSpec& spec,
                      std::type_identity_t<HeadsView<T>> out, SoftmaxOutput softmax,
                      const Observers& observers, Insight* seen) {
  const HeadsView<const T>& q = in.q;
  check_argument(q.stride(2) == 1 && q.dim(0) == in.rest.q_offsets.total(), kCall,
                 "expected q [{}, H, D] with an innermost stride of 1, got [{}, {}, {}]",
                 in.rest.q_offsets.total(), q.dim(0), q.dim(1), q.dim(2));
  check_argument(out.dim(0) == q.dim(0) && out.dim(1) == q.dim(1) && out.stride(2) == 1, kCall,
                 "expected out [{}, {}, Dv] with an innermost stride of 1, got [{}, {}, {}]", q.dim(0),
                 q.dim(1), out.dim(0), out.dim(1), out.dim(2));
  const Tensor wide_q = widened(q, in.rest.q_offsets);
  Tensor wide_out = Tensor::empty({q.dim(0), q.dim(1), out.dim(2)});
  DecodeInputs wide = in.rest;
  wide.q = heads_view<float>(wide_q);
  decode_call(wide, dtype_of<T>, spec, heads_view<float>(wide_out), softmax, observers, seen);
  narrow_to(out, in.rest.q_offsets, wide_out);
}

template void attention_decode(const HalfDecodeInputs<BFloat16>&, const AttentionSpec&, HeadsView<BFloat16>,
                               SoftmaxOutput, const Observers&, Insight*);
template void attention_decode(const HalfDecodeInputs<Float16>&, const AttentionSpec&, HeadsView<Float16>,
                               SoftmaxOutput, const Observers&, Insight*);

}  // namespace fovea
