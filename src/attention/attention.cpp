// The call's outer layer: checks, insights' tensors, results.
#include "fovea/attention/attention.hpp"

#include <fmt/ranges.h>

#include <vector>

#include "attention/few.hpp"
#include "attention/fused.hpp"
#include "attention/half.hpp"
#include "attention/kept.hpp"
#include "attention/plain.hpp"
#include "attention/resolve.hpp"
#include "attention/saved_rows.hpp"
#include "attention/score.hpp"
#include "attention/sequence.hpp"
#include "base/check.hpp"
#include "fovea/attention/top_k_places.hpp"

namespace fovea {
namespace {

HeadsView<const float> heads_of(const char* name, const Tensor& x) {
  check_argument(x.defined() && x.rank() == 3 && x.dtype() == DType::kF32, "attention",
                 "expected {} as float32 [T, heads, width], got {} {}", name,
                 x.defined() ? to_string(x.dtype()) : "nothing", x.defined() ? to_string(x.shape()) : "");
  return contiguous_view<const float, 3>(x.data(), {x.dim(0), x.dim(1), x.dim(2)});
}

void check_output(const char* call, const char* name, const HeadsView<const float>& x, int64_t tokens,
                  int64_t heads, int64_t width) {
  check_argument(x.dim(0) == tokens && x.dim(1) == heads && x.dim(2) == width && x.stride(2) == 1, call,
                 "expected {} [{}, {}, {}] with an innermost stride of 1, got [{}, {}, {}]", name, tokens,
                 heads, width, x.dim(0), x.dim(1), x.dim(2));
}

}  // namespace

void prepare_insight(const AttentionInputs& in, const Observers& observers, Insight& seen) {
  const int64_t rows = in.q.dim(0), heads = in.q.dim(1);
  if (observers.entropy) seen.entropy = Tensor::empty({rows, heads});
  if (observers.max) {
    seen.max_weight = Tensor::empty({rows, heads});
    seen.max_key = Tensor::empty({rows, heads}, DType::kI64);
  }
  if (observers.top_k > 0) {
    const int64_t places = top_k_places(observers.top_k, in.k_offsets.max_length());
    seen.top_k_keys = Tensor::empty({rows, heads, places}, DType::kI64);
    seen.top_k_weights = Tensor::empty({rows, heads, places});
  }
  if (observers.key_mass) seen.key_mass = Tensor::zeros({in.k.dim(0), heads});
  if (observers.effective_keys) seen.effective_keys = Tensor::empty({rows, heads});
  if (observers.distance) seen.expected_distance = Tensor::empty({rows, heads});
  if (observers.first_key) seen.first_key_mass = Tensor::empty({rows, heads});
  if (observers.near()) seen.near_mass = Tensor::empty({rows, heads});
  if (observers.key_set_count > 0) seen.set_mass = Tensor::empty({rows, heads, observers.key_set_count});
  if (observers.block_mass) {
    std::vector<int64_t> sizes;
    for (int64_t n = 0; n < in.q_offsets.count(); ++n)
      sizes.push_back((in.q_offsets.length(n) + 63) / 64 * ((in.k_offsets.length(n) + 63) / 64));
    seen.block_offsets = Offsets::from_lengths(sizes);
    seen.block_mass = Tensor::zeros({seen.block_offsets.total(), heads});
  }
}

void check_observers(const char* call, const Observers& observers, int64_t keys, const Insight* seen) {
  check_argument(observers.top_k >= 0, call, "expected top_k >= 1, or 0 for none, got {}", observers.top_k);
  check_argument(!observers.any() || seen != nullptr, call,
                 "expected an Insight to fill, since the observers ask for something");
  check_argument((observers.near_left < 0) == (observers.near_right < 0), call,
                 "expected near_left and near_right both >= 0, got {} and {}", observers.near_left,
                 observers.near_right);
  check_argument(observers.key_set_count >= 0 && observers.key_set_count <= 64, call,
                 "expected at most 64 key sets, got {}", observers.key_set_count);
  if (observers.key_set_count == 0) return;
  check_argument(static_cast<int64_t>(observers.key_sets.size()) == keys, call,
                 "expected the set of each of the {} keys, got {}", keys, observers.key_sets.size());
  for (const int32_t set : observers.key_sets) {
    check_argument(set >= -1 && set < observers.key_set_count, call, "expected key sets in [-1, {}), got {}",
                   observers.key_set_count, set);
  }
}

void check_gradients(const char* call, const AttentionInputs& inputs, const SoftmaxInput& softmax,
                     const AttentionGradients& gradients) {
  check_argument(softmax.given() || inputs.q.dim(0) == 0 || inputs.q.dim(1) == 0, call,
                 "expected the softmax rows or the lse that attention_forward wrote, got none");
  const bool none = inputs.q.dim(1) == 0;  // of no heads, nothing given is as good as a row of no numbers
  check_argument(none || gradients.dtable == nullptr || inputs.relative.table != nullptr, call,
                 "expected no dtable without a relative bias");
  check_argument(none || gradients.dslopes == nullptr || !inputs.alibi_slopes.empty(), call,
                 "expected no dslopes without ALiBi slopes");
  check_argument(none || gradients.dsinks == nullptr || !inputs.sinks.empty(), call,
                 "expected no dsinks without sinks");
  check_argument(none || gradients.dscales == nullptr || !inputs.scales.empty(), call,
                 "expected no dscales without scales");
  const bool parameters = gradients.dtable != nullptr || gradients.dslopes != nullptr ||
                          gradients.dsinks != nullptr || gradients.dscales != nullptr ||
                          gradients.dbias.data != nullptr;
  check_argument(!parameters || inputs.override_heads.heads.empty(), call,
                 "expected no gradients of biases, sinks or scales with overridden heads");
  const ScoresView<float>& dbias = gradients.dbias;
  check_argument(dbias.data == nullptr || inputs.bias.data != nullptr, call,
                 "expected no dbias without a bias");
  check_argument(dbias.data == nullptr || dbias.dims == inputs.bias.dims, call,
                 "expected dbias with the dimensions of the bias, [{}], got [{}]",
                 fmt::join(inputs.bias.dims, ", "), fmt::join(dbias.dims, ", "));
}

namespace {

void many_forward(const AttentionInputs& inputs, const AttentionSpec& spec, Resolved& r, HeadsView<float> out,
                  const SoftmaxOutput& softmax, const Observers& observers, Insight* seen) {
  if (fast_forward(inputs, spec, r, out, softmax, observers, seen)) return;
  const WithRows rows(inputs, spec.score);
  if (r.top_k > 0) return kept_forward(rows.inputs, r, out, softmax, observers, seen);
  permute_keys(rows.inputs, r);
  fused_forward(rows.inputs, r, out, softmax, observers, seen);
}

}  // namespace

void attention_forward(const AttentionInputs& inputs, const AttentionSpec& spec, HeadsView<float> out,
                       SoftmaxOutput softmax, const Observers& observers, Insight* seen) {
  Resolved r = resolve("attention_forward", inputs, spec);
  check_output("attention_forward", "out", out, inputs.q.dim(0), r.heads, r.dv);
  check_observers("attention_forward", observers, inputs.k.dim(0), seen);
  if (seen != nullptr) prepare_insight(inputs, observers, *seen);
  if (r.heads == 0) return;
  const Few few = few_queries(inputs, r, spec);
  if (few != Few::kAll || observers.any()) many_forward(inputs, spec, r, out, softmax, observers, seen);
  if (few != Few::kNone) few_forward<float>(inputs, r, spec, inputs.q, inputs.k, inputs.v, out, softmax);
}

namespace {

// The gradients of keys and values that no head looks at.
void zero_keys(const AttentionInputs& in, const AttentionGradients& g) {
  for (const HeadsView<float>* x : {&g.dk, &g.dv}) {
    if (x->data == nullptr) continue;
    for_tokens(in.k_offsets, 0, in.k_offsets.total(), [&](int64_t n, int64_t j, int64_t) {
      for (int64_t h = 0; h < x->dim(1); ++h) std::fill_n(row_of(*x, in.k_offsets, n, j, h), x->dim(2), 0.0f);
    });
  }
}

}  // namespace

void attention_backward(const AttentionInputs& inputs, const AttentionSpec& spec, HeadsView<const float> out,
                        SoftmaxInput softmax, HeadsView<const float> dout,
                        const AttentionGradients& gradients, const float* dlse) {
  const char* call = "attention_backward";
  Resolved r = resolve(call, inputs, spec);
  check_output(call, "out", out, inputs.q.dim(0), r.heads, r.dv);
  check_output(call, "dout", dout, inputs.q.dim(0), r.heads, r.dv);
  if (gradients.dq.data != nullptr)
    check_output(call, "dq", gradients.dq, inputs.q.dim(0), r.heads, inputs.q.dim(2));
  if (gradients.dk.data != nullptr)
    check_output(call, "dk", gradients.dk, inputs.k.dim(0), r.kv_heads, inputs.k.dim(2));
  if (gradients.dv.data != nullptr) check_output(call, "dv", gradients.dv, inputs.k.dim(0), r.kv_heads, r.dv);
  check_gradients(call, inputs, softmax, gradients);
  check_argument(!r.overrides_with(HeadOverride::kPermuted), call,
                 "expected no permuted heads, which have no gradient");
  if (r.heads == 0) return zero_keys(inputs, gradients);
  const SavedRows saved(softmax, inputs.q.dim(0) * r.heads);
  const OutputGradient output{out, saved.data(), dout, dlse};
  if (fast_backward(inputs, spec, r, output, gradients)) return;
  const WithRows rows(inputs, spec.score);
  const RowGradients<float> of_rows(operands_of(inputs, spec.score), gradients.dq, gradients.dk);
  AttentionGradients inner = gradients;
  inner.dq = of_rows.dq;
  inner.dk = of_rows.dk;
  if (r.top_k > 0) {
    kept_backward(rows.inputs, r, dout, dlse, inner);
    return of_rows.pull_back();
  }
  Tensor dq;  // of the rows in place of q, for the scales
  if (gradients.dscales != nullptr && r.differences) {
    distance_scale_gradient(rows.inputs, r, dout, dlse, gradients.dscales);
    inner.dscales = nullptr;
  }
  if (inner.dscales != nullptr && inner.dq.data == nullptr) {
    dq = Tensor::empty({inputs.q.dim(0), r.heads, r.d});
    inner.dq = contiguous_view<float, 3>(dq.data(), {inputs.q.dim(0), r.heads, r.d});
  }
  fused_backward(rows.inputs, r, output, inner);
  if (inner.dscales != nullptr) scale_gradient(rows.inputs, r, output, inner.dq, gradients.dscales);
  of_rows.pull_back();
}

AttentionResult attention(const AttentionInputs& inputs, const AttentionSpec& spec,
                          const Observers& observers) {
  AttentionResult result;
  const int64_t rows = inputs.q.dim(0), heads = inputs.q.dim(1), width = inputs.v.dim(2);
  result.out = Tensor::empty({rows, heads, width});
  const SoftmaxOutput softmax = softmax_tensors(result, rows, heads);
  attention_forward(inputs, spec, contiguous_view<float, 3>(result.out.data(), {rows, heads, width}), softmax,
                    observers, &result.seen);
  result.seen.lse = result.lse;
  return result;
}

AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offsets,
                          const Offsets& k_offsets, const AttentionSpec& spec, const Observers& observers) {
  if (is_half(q)) return half_attention(q, k, v, q_offsets, k_offsets, spec, observers);
  AttentionInputs inputs{heads_of("q", q), heads_of("k", k), heads_of("v", v), q_offsets, k_offsets};
  return attention(inputs, spec, observers);
}

AttentionResult attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec,
                          const Observers& observers) {
  if (is_half(q) && q.rank() == 3 && k.defined() && k.rank() == 3) {
    return half_attention(q, k, v, Offsets::single(q.dim(0)), Offsets::single(k.dim(0)), spec, observers);
  }
  const HeadsView<const float> views[] = {heads_of("q", q), heads_of("k", k), heads_of("v", v)};
  AttentionInputs inputs{views[0], views[1], views[2], Offsets::single(q.dim(0)), Offsets::single(k.dim(0))};
  return attention(inputs, spec, observers);
}

}  // namespace fovea
