// A random problem on 16-bit inputs: the float32 arrays rounded, so that float32 calls and the float64
// reference see exactly what the 16-bit call sees.
#pragma once

#include "fovea/attention/half.hpp"
#include "tests/attention/problem.hpp"

namespace fovea::testing {

template <class T>
struct HalfArrays {
  Arrays wide;  // its inputs and dout hold the rounded values
  Tensor memory, q, k, v, dout;
  HalfAttentionInputs<T> inputs;
  HeadsView<const T> dout_view;
};

template <class T>
HeadsView<const T> same_place(const Tensor& half, const Tensor& wide, const HeadsView<const float>& x) {
  return {half.data<T>() + (x.data - wide.data()), x.dims, x.strides, x.sequence_stride};
}

template <class T>
HalfArrays<T> make_half(const Problem& problem) {
  HalfArrays<T> a{make_arrays(problem), {}, {}, {}, {}, {}, {}, {}};
  const auto round = [](Tensor& wide) {
    const Tensor half = wide.to(dtype_of<T>);
    if (wide.defined()) wide.copy_from(half.to(DType::kF32));
    return half;
  };
  a.memory = round(a.wide.memory);
  a.q = round(a.wide.q);
  a.k = round(a.wide.k);
  a.v = round(a.wide.v);
  a.dout = round(a.wide.dout);
  const AttentionInputs& in = a.wide.inputs;
  const bool one = problem.interleaved;
  a.inputs.q = same_place<T>(one ? a.memory : a.q, one ? a.wide.memory : a.wide.q, in.q);
  a.inputs.k = same_place<T>(one ? a.memory : a.k, one ? a.wide.memory : a.wide.k, in.k);
  a.inputs.v = same_place<T>(one ? a.memory : a.v, one ? a.wide.memory : a.wide.v, in.v);
  a.inputs.rest = in;
  a.dout_view = same_place<T>(a.dout, a.wide.dout, a.wide.dout_view);
  return a;
}

template <class T>
HeadsView<T> half_view(Tensor& x) {
  return contiguous_view<T, 3>(x.data<T>(), {x.dim(0), x.dim(1), x.dim(2)});
}

// out, dq, dk and dv are of type T. `biases`: with the gradients of biases by distance.
template <class T>
Results run_half(const HalfArrays<T>& a, bool backward = true, bool biases = true) {
  const Problem& p = a.wide.problem;
  const int64_t tq = a.wide.q_offsets.total(), tk = a.wide.k_offsets.total();
  const DType dtype = dtype_of<T>;
  Results r;
  r.out = Tensor::full({tq, p.heads, p.dv}, NAN, dtype);
  r.lse = Tensor::full({tq, p.heads}, NAN);
  r.softmax_rows = Tensor::full({tq, p.heads, 2}, NAN);
  attention_forward(a.inputs, p.spec, half_view<T>(r.out), {r.lse.data(), r.saved()});
  if (!backward) return r;
  r.dq = Tensor::full({tq, p.heads, p.d}, NAN, dtype);
  r.dk = Tensor::full({tk, p.kv_heads, p.d}, NAN, dtype);
  r.dv = Tensor::full({tk, p.kv_heads, p.dv}, NAN, dtype);
  HalfAttentionGradients<T> g{half_view<T>(r.dq), half_view<T>(r.dk), half_view<T>(r.dv), {}};
  r.dslopes = Tensor::zeros({p.heads});
  r.dtable = Tensor::zeros({16, p.heads});
  r.dsinks = Tensor::zeros({p.heads});
  if (p.alibi && biases) g.rest.dslopes = r.dslopes.data();
  if (p.relative && biases) g.rest.dtable = r.dtable.data();
  if (p.sinks) g.rest.dsinks = r.dsinks.data();
  if (!p.bias.empty() && biases) {
    const ScoresView<const float>& bias = a.inputs.rest.bias;  // the gradient lies as the bias does
    int64_t size = 1;
    for (size_t axis = 0; axis < 4; ++axis)
      size += std::max<int64_t>(0, bias.dims[axis] - 1) * bias.strides[axis];
    r.dbias = Tensor::zeros({size});
    g.rest.dbias = {r.dbias.data(), bias.dims, bias.strides};
  }
  attention_backward<T>(a.inputs, p.spec, half_view<T>(r.out), r.saved(), a.dout_view, g,
                        a.wide.dlse ? a.wide.dlse.data() : nullptr);
  return r;
}

}  // namespace fovea::testing
