#include "fovea/nn/attention.hpp"

#include "base/check.hpp"
#include "fovea/attention/attention.hpp"
#include "fovea/autograd/functions/attention.hpp"
#include "fovea/autograd/functions/rows.hpp"
#include "fovea/autograd/precision.hpp"
#include "fovea/autograd/tape.hpp"
#include "fovea/nn/positions.hpp"

namespace fovea::nn {
namespace {

using autograd::Var;

MultiHeadAttentionOptions resolved(MultiHeadAttentionOptions o) {
  check_argument(o.width >= 1 && o.heads >= 1, "multi_head_attention",
                 "expected width and heads >= 1, got {} and {}", o.width, o.heads);
  if (o.key_heads == 0) o.key_heads = o.heads;
  check_argument(o.heads % o.key_heads == 0, "multi_head_attention",
                 "expected key heads that divide the heads, got {} heads and {} key heads", o.heads,
                 o.key_heads);
  check_argument(o.head_width > 0 || o.width % o.heads == 0, "multi_head_attention",
                 "expected heads that divide the width (or a head width), got width {} and {} heads", o.width,
                 o.heads);
  if (o.head_width == 0) o.head_width = o.width / o.heads;
  if (o.value_width == 0) o.value_width = o.head_width;
  check_argument(o.dropout >= 0.0F && o.dropout < 1.0F, "multi_head_attention",
                 "expected a dropout in [0, 1), got {}", o.dropout);
  check_argument(!(o.alibi && o.relative), "multi_head_attention",
                 "expected ALiBi or a relative bias, got both");
  check_argument(o.memory_width == 0 || !o.rotary, "multi_head_attention",
                 "expected no rotary positions in cross-attention: its two sides count apart");
  return o;
}

// Each head's columns normalised on their own.
Var normalise_heads(const Norm& norm, const Var& x, int64_t heads) {
  const int64_t tokens = x.dim(0);
  const int64_t width = x.dim(1);
  const Var rows = autograd::reshape(x, {tokens * heads, width / heads});
  return autograd::reshape(norm.forward(rows), {tokens, width});
}

}  // namespace

MultiHeadAttention::MultiHeadAttention(const MultiHeadAttentionOptions& options, Random& random)
    : options_(resolved(options)) {
  const MultiHeadAttentionOptions& o = options_;
  const LinearOptions linear{.bias = o.bias, .initialization = o.initialization};
  const int64_t value_columns = o.key_heads * o.value_width;
  if (o.memory_width == 0) {
    qkv = Linear(o.width, (o.heads + o.key_heads) * o.head_width + value_columns, random, linear);
  } else {
    query = Linear(o.width, o.heads * o.head_width, random, linear);
    memory = Linear(o.memory_width, o.key_heads * o.head_width + value_columns, random, linear);
  }
  output = Linear(o.heads * o.value_width, o.width, random,
                  {.bias = o.bias, .initialization = o.initialization, .gain = o.output_gain});
  if (o.relative) relative_ = Var::parameter(Tensor::zeros({o.relative->buckets, o.heads}));
  if (o.alibi) slopes_ = Var(alibi_slopes(o.heads));
  if (o.sinks) sinks_ = Var::parameter(Tensor::zeros({o.heads}));
  if (o.query_key_norm) {
    query_norm_ = Norm(o.head_width, {.kind = *o.query_key_norm});
    key_norm_ = Norm(o.head_width, {.kind = *o.query_key_norm});
  }
}

void MultiHeadAttention::visit(ModuleVisitor& visitor) {
  if (options_.memory_width == 0) {
    visitor.child("qkv", qkv);
  } else {
    visitor.child("query", query);
    visitor.child("memory", memory);
  }
  visitor.child("output", output);
  visitor.parameter("relative.weight", relative_, Decay::kNo);
  visitor.parameter("sinks", sinks_, Decay::kNo);
  if (options_.query_key_norm) {
    visitor.child("query_norm", query_norm_);
    visitor.child("key_norm", key_norm_);
  }
}

namespace {

// One attention call, told to the sink of the context if there is one. `call` runs it with the options it is
// given.
template <class Call>
Var observed(Context& context, autograd::AttentionOptions& options, Call&& call) {
  AttentionSink* sink = context.sink();
  if (sink == nullptr) return call(options);
  Insight seen;
  autograd::AttentionCall record;
  options.observers = sink->wishes();
  options.seen = &seen;
  options.call = &record;
  Var out = call(options);
  sink->attention({context.path(), record, seen});
  return out;
}

}  // namespace

Var MultiHeadAttention::forward(Context& context, const Var& x, const Offsets& offsets,
                                KeyValueCache* cache) const {
  const MultiHeadAttentionOptions& o = options_;
  check_argument(o.memory_width == 0, "multi_head_attention",
                 "expected a memory for cross-attention, got none");
  if (cache != nullptr) return incremental(x, offsets, *cache);
  const bool whole = o.value_width == o.head_width && !o.query_key_norm;
  Var projected = qkv.forward(x, whole ? projection_dtype() : DType::kF32);
  if (whole) {
    autograd::AttentionOptions options = call_options(context);
    return output.forward(observed(context, options, [&](const autograd::AttentionOptions& with) {
      return autograd::attention_qkv(std::move(projected), offsets, with);
    }));
  }
  const int64_t k_begin = o.heads * o.head_width;
  const int64_t v_begin = k_begin + o.key_heads * o.head_width;
  return attend(context, autograd::slice_columns(projected, 0, k_begin),
                autograd::slice_columns(projected, k_begin, v_begin),
                autograd::slice_columns(projected, v_begin, projected.dim(1)), offsets, offsets);
}

Var MultiHeadAttention::forward(Context& context, const Var& x, const Offsets& offsets,
                                const autograd::RaggedVar& attended, Var* projected) const {
  const MultiHeadAttentionOptions& o = options_;
  check_argument(o.memory_width > 0, "multi_head_attention",
                 "expected no memory for self-attention, got one");
  const bool whole = o.value_width == o.head_width && !o.query_key_norm;
  const DType dtype = whole ? projection_dtype() : DType::kF32;
  Var kv;
  if (projected != nullptr && projected->defined()) {
    kv = *projected;
  } else {
    kv = memory.forward(attended.tokens, dtype);
    if (projected != nullptr) *projected = kv;
  }
  Var q = query.forward(x, dtype);
  if (whole) {
    autograd::AttentionOptions options = call_options(context);
    return output.forward(observed(context, options, [&](const autograd::AttentionOptions& with) {
      return autograd::attention_kv(std::move(q), std::move(kv), offsets, attended.offsets, with);
    }));
  }
  const int64_t v_begin = o.key_heads * o.head_width;
  return attend(context, std::move(q), autograd::slice_columns(kv, 0, v_begin),
                autograd::slice_columns(kv, v_begin, kv.dim(1)), offsets, attended.offsets);
}

Var MultiHeadAttention::attend(Context& context, Var q, Var k, Var v, const Offsets& q_offsets,
                               const Offsets& k_offsets) const {
  if (options_.query_key_norm) {
    q = normalise_heads(query_norm_, q, options_.heads);
    k = normalise_heads(key_norm_, k, options_.key_heads);
  }
  autograd::AttentionOptions options = call_options(context);
  return output.forward(observed(context, options, [&](const autograd::AttentionOptions& with) {
    return autograd::attention(std::move(q), std::move(k), v, q_offsets, k_offsets, with);
  }));
}

// Rotary positions turn q and k in float32, before they are rounded.
DType MultiHeadAttention::projection_dtype() const {
  return options_.rotary ? DType::kF32 : autograd::product_dtype();
}

autograd::AttentionOptions MultiHeadAttention::call_options(Context& context) const {
  const MultiHeadAttentionOptions& o = options_;
  autograd::AttentionOptions options{.spec = o.spec,
                                     .heads = o.heads,
                                     .key_heads = o.key_heads,
                                     .rotary = o.rotary,
                                     .relative_table = relative_,
                                     .alibi_slopes = slopes_,
                                     .sinks = sinks_,
                                     .result = autograd::product_dtype()};
  if (o.relative) {
    options.relative_max_distance = o.relative->max_distance;
    options.relative_bidirectional = !o.spec.causal;
  }
  options.spec.dropout = context.rate(o.dropout);
  if (options.spec.dropout > 0.0F) options.spec.dropout_key = context.next_key();
  return options;
}

Var MultiHeadAttention::incremental(const Var& x, const Offsets& offsets, KeyValueCache& cache) const {
  const MultiHeadAttentionOptions& o = options_;
  check_argument(offsets.count() == cache.sequences(), "multi_head_attention",
                 "expected new tokens for the {} sequences of the cache, got {} sequences", cache.sequences(),
                 offsets.count());
  check_argument(offsets.total() == x.dim(0), "multi_head_attention",
                 "expected offsets that end at the {} tokens of x, got {}", x.dim(0), offsets.total());
  const autograd::NoTape pause;
  const int64_t k_begin = o.heads * o.head_width;
  const int64_t v_begin = k_begin + o.key_heads * o.head_width;
  const Var projected = qkv.forward(x);
  Tensor q = autograd::slice_columns(projected, 0, k_begin).value();
  Tensor k = autograd::slice_columns(projected, k_begin, v_begin).value();
  const Tensor v = autograd::slice_columns(projected, v_begin, projected.dim(1)).value();
  if (o.query_key_norm) {
    q = normalise_heads(query_norm_, q, o.heads).value();
    k = normalise_heads(key_norm_, k, o.key_heads).value();
  }
  Tensor out = Tensor::empty({x.dim(0), o.heads * o.value_width});
  for (int64_t n = 0; n < offsets.count(); ++n) {
    const int64_t length = offsets.length(n);
    if (length == 0) continue;
    const auto heads = [&](auto* data, int64_t count, int64_t width) {
      return heads_of_columns(data + offsets.begin(n) * count * width, length, count * width, 0, count,
                              width);
    };
    const HeadsView<float> qn = heads(q.data(), o.heads, o.head_width);
    const HeadsView<float> kn = heads(k.data(), o.key_heads, o.head_width);
    const Offsets fresh = Offsets::single(length);
    if (o.rotary) {
      RotarySpec rotary = *o.rotary;
      rotary.first_position += cache.length(n);
      rotary_forward(qn, fresh, rotary);
      rotary_forward(kn, fresh, rotary);
    }
    cache.append(n, kn, heads(v.data(), o.key_heads, o.value_width));
    // The new queries stand at the last keys: the call aligns them so.
    AttentionInputs inputs{qn, cache.keys(n), cache.values(n), fresh, Offsets::single(cache.length(n))};
    if (slopes_.defined()) inputs.alibi_slopes = slopes_.value().span();
    if (sinks_.defined()) inputs.sinks = sinks_.value().span();
    if (o.relative) {
      inputs.relative = {relative_.value().data(), o.relative->buckets, o.relative->max_distance,
                         !o.spec.causal};
    }
    AttentionSpec spec = o.spec;
    spec.dropout = 0.0F;
    attention_forward(inputs, spec, heads(out.data(), o.heads, o.value_width), nullptr);
  }
  return output.forward(Var(std::move(out)));
}

}  // namespace fovea::nn
