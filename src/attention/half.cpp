// 16-bit calls, checked; those that no 16-bit kernel serves are widened to float32.
#include "attention/half.hpp"

#include <utility>

#include "attention/resolve.hpp"
#include "attention/widen.hpp"
#include "base/check.hpp"
#include "fovea/attention/half.hpp"

namespace fovea {
namespace {

// The call's shapes and options as the float32 checks read them; the addresses are only compared with null.
template <class T>
AttentionInputs shapes_of(const HalfAttentionInputs<T>& in) {
  AttentionInputs shapes = in.rest;
  const auto shape = [](const HeadsView<const T>& x) {
    return HeadsView<const float>{reinterpret_cast<const float*>(x.data), x.dims, x.strides};
  };
  shapes.q = shape(in.q);
  shapes.k = shape(in.k);
  shapes.v = shape(in.v);
  return shapes;
}

template <class T>
void check_heads(const char* call, const char* name, const HeadsView<T>& x, int64_t tokens, int64_t heads,
                 int64_t width) {
  check_argument(x.dim(0) == tokens && x.dim(1) == heads && x.dim(2) == width && x.stride(2) == 1, call,
                 "expected {} [{}, {}, {}] with an innermost stride of 1, got [{}, {}, {}]", name, tokens,
                 heads, width, x.dim(0), x.dim(1), x.dim(2));
}

// The inputs in float32, and who owns them.
struct Widened {
  Tensor q, k, v;
  AttentionInputs inputs;
};

template <class T>
Widened widen_inputs(const HalfAttentionInputs<T>& in) {
  Widened w{widened(in.q), widened(in.k), widened(in.v), in.rest};
  w.inputs.q = heads_view<float>(std::as_const(w.q));
  w.inputs.k = heads_view<float>(std::as_const(w.k));
  w.inputs.v = heads_view<float>(std::as_const(w.v));
  return w;
}

template <class T>
Tensor like(const HeadsView<T>& x) {
  return x.data == nullptr ? Tensor() : Tensor::empty({x.dim(0), x.dim(1), x.dim(2)});
}

template <class T>
HeadsView<const T> half_heads(const char* name, const Tensor& x) {
  check_argument(x.defined() && x.rank() == 3 && x.dtype() == dtype_of<T>, "attention",
                 "expected {} as {} [T, heads, width], as q is, got {} {}", name, to_string(dtype_of<T>),
                 x.defined() ? to_string(x.dtype()) : "nothing", x.defined() ? to_string(x.shape()) : "");
  return heads_view<T>(x);
}

template <class T>
AttentionResult call_on_tensors(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offsets,
                                const Offsets& k_offsets, const AttentionSpec& spec,
                                const Observers& observers) {
  HalfAttentionInputs<T> in{half_heads<T>("q", q), half_heads<T>("k", k), half_heads<T>("v", v), {}};
  in.rest.q_offsets = q_offsets;
  in.rest.k_offsets = k_offsets;
  AttentionResult result;
  result.out = Tensor::empty({q.dim(0), q.dim(1), v.dim(2)}, dtype_of<T>);
  result.lse = Tensor::empty({q.dim(0), q.dim(1)});
  attention_forward(in, spec, heads_view<T>(result.out), result.lse.data(), observers, &result.seen);
  result.seen.lse = result.lse;
  return result;
}

}  // namespace

AttentionResult half_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offsets,
                               const Offsets& k_offsets, const AttentionSpec& spec,
                               const Observers& observers) {
  return q.dtype() == DType::kBF16 ? call_on_tensors<BFloat16>(q, k, v, q_offsets, k_offsets, spec, observers)
                                   : call_on_tensors<Float16>(q, k, v, q_offsets, k_offsets, spec, observers);
}

template <class T>
void attention_forward(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, HeadsView<T> out,
                       float* lse, const Observers& observers, Insight* seen) {
  const char* call = "attention_forward";
  const Resolved r = resolve(call, shapes_of(in), spec);
  check_heads(call, "out", out, in.q.dim(0), r.heads, r.dv);
  const Widened wide = widen_inputs(in);
  Tensor result = Tensor::empty({in.q.dim(0), r.heads, r.dv});
  attention_forward(wide.inputs, spec, heads_view<float>(result), lse, observers, seen);
  narrow_to(out, result);
}

template <class T>
void attention_backward(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, HeadsView<const T> out,
                        const float* lse, HeadsView<const T> dout, const HalfAttentionGradients<T>& g) {
  const char* call = "attention_backward";
  const Resolved r = resolve(call, shapes_of(in), spec);
  check_heads(call, "out", out, in.q.dim(0), r.heads, r.dv);
  check_heads(call, "dout", dout, in.q.dim(0), r.heads, r.dv);
  if (g.dq.data != nullptr) check_heads(call, "dq", g.dq, in.q.dim(0), r.heads, r.d);
  if (g.dk.data != nullptr) check_heads(call, "dk", g.dk, in.k.dim(0), r.kv_heads, r.d);
  if (g.dv.data != nullptr) check_heads(call, "dv", g.dv, in.k.dim(0), r.kv_heads, r.dv);
  const Widened wide = widen_inputs(in);
  const Tensor wide_out = widened(out), wide_dout = widened(dout);
  Tensor dq = like(g.dq), dk = like(g.dk), dv = like(g.dv);
  AttentionGradients wide_g = g.rest;
  wide_g.dq = dq ? heads_view<float>(dq) : HeadsView<float>{};
  wide_g.dk = dk ? heads_view<float>(dk) : HeadsView<float>{};
  wide_g.dv = dv ? heads_view<float>(dv) : HeadsView<float>{};
  attention_backward(wide.inputs, spec, heads_view<float>(wide_out), lse, heads_view<float>(wide_dout),
                     wide_g);
  if (dq) narrow_to(g.dq, dq);
  if (dk) narrow_to(g.dk, dk);
  if (dv) narrow_to(g.dv, dv);
}

template <class T>
Ragged attention_rows(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, const float* lse,
                      std::span<const int64_t> queries) {
  resolve("attention_rows", shapes_of(in), spec);
  return attention_rows(widen_inputs(in).inputs, spec, lse, queries);
}

template void attention_forward(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&,
                                HeadsView<BFloat16>, float*, const Observers&, Insight*);
template void attention_forward(const HalfAttentionInputs<Float16>&, const AttentionSpec&, HeadsView<Float16>,
                                float*, const Observers&, Insight*);
template void attention_backward(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&,
                                 HeadsView<const BFloat16>, const float*, HeadsView<const BFloat16>,
                                 const HalfAttentionGradients<BFloat16>&);
template void attention_backward(const HalfAttentionInputs<Float16>&, const AttentionSpec&,
                                 HeadsView<const Float16>, const float*, HeadsView<const Float16>,
                                 const HalfAttentionGradients<Float16>&);
template Ragged attention_rows(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&, const float*,
                               std::span<const int64_t>);
template Ragged attention_rows(const HalfAttentionInputs<Float16>&, const AttentionSpec&, const float*,
                               std::span<const int64_t>);

}  // namespace fovea
