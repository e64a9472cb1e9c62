// 16-bit calls, checked; those that no 16-bit kernel serves are widened to float32.
#include "attention/half.hpp"

#include <type_traits>
#include <utility>

#include "attention/choose.hpp"
#include "attention/few.hpp"
#include "attention/fused.hpp"
#include "attention/fused_pairs.hpp"
#include "attention/saved_rows.hpp"
#include "attention/schedule.hpp"
#include "attention/sequence.hpp"
#include "attention/widen.hpp"
#include "base/check.hpp"
#include "fovea/attention/half.hpp"
#include "fovea/attention/merge.hpp"

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
  Widened w{widened(in.q, in.rest.q_offsets), widened(in.k, in.rest.k_offsets),
            widened(in.v, in.rest.k_offsets), in.rest};
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
  const SoftmaxOutput softmax = softmax_tensors(result, q.dim(0), q.dim(1));
  attention_forward(in, spec, heads_view<T>(result.out), softmax, observers, &result.seen);
  result.seen.lse = result.lse;
  return result;
}

// The same call without data in q, k and v, as bf16 kernels take its options.
AttentionInputs without_data(AttentionInputs in) {
  in.q.data = in.k.data = in.v.data = nullptr;
  return in;
}

// δ = rowsum(dout∘out) − dlse, [T, H], in float32.
template <class A, class B>
Buffer<float> row_products(const HeadsView<const A>& a, const HeadsView<const B>& b, const Offsets& offsets,
                           const float* dlse) {
  const int64_t heads = a.dim(1), width = a.dim(2);
  Buffer<float> sums(static_cast<size_t>(a.dim(0) * heads));
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(1, heads * width));
  parallel_for(a.dim(0), grain, [&](int64_t begin, int64_t end) {
    for_tokens(offsets, begin, end, [&](int64_t n, int64_t i, int64_t t) {
      for (int64_t h = 0; h < heads; ++h) {
        const A* x = row_of(a, offsets, n, i, h);
        const B* y = row_of(b, offsets, n, i, h);
        float lane[8] = {};  // eight sums side by side, for speed and a shorter chain of roundings
        for (int64_t c = 0; c < width; ++c)
          lane[c % 8] += static_cast<float>(x[c]) * static_cast<float>(y[c]);
        const auto at = static_cast<size_t>(t * heads + h);
        sums[at] = ((lane[0] + lane[4]) + (lane[1] + lane[5])) + ((lane[2] + lane[6]) + (lane[3] + lane[7]));
        if (dlse != nullptr) sums[at] -= dlse[at];
      }
    });
  });
  return sums;
}

Tensor rounded(const HeadsView<const float>& x, const Offsets& offsets) {
  Tensor half = Tensor::empty({x.dim(0), x.dim(1), x.dim(2)}, DType::kBF16);
  auto* to = half.data<BFloat16>();
  for_runs(x, offsets, [to](const float* from, int64_t begin, int64_t count) {
    kernels::to_bf16(count, from, to + begin);
  });
  return half;
}

// Forward by bf16 kernels. Observers never change the output: those that the kernels lack look at widened
// inputs.
void run_pairs(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
               const Resolved& r, const PairOutput& out, SoftmaxOutput softmax, const Observers& observers,
               Insight* seen) {
  const bool again = observers.key_mass || observers.weights();
  const OwnRows own(softmax, again, in.q.dim(0) * r.heads);
  pair_forward(kernel, x, without_data(in), r, out, softmax, observers, seen);
  if (!again) return;
  const Tensor q = widened(x.q, in.q_offsets), k = widened(x.k, in.k_offsets);
  AttentionInputs wide = without_data(in);
  wide.q = heads_view<float>(q);
  wide.k = heads_view<float>(k);
  fused_second_pass(wide, r, softmax.rows, observers, *seen);
}

}  // namespace

AttentionResult half_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offsets,
                               const Offsets& k_offsets, const AttentionSpec& spec,
                               const Observers& observers) {
  return q.dtype() == DType::kBF16 ? call_on_tensors<BFloat16>(q, k, v, q_offsets, k_offsets, spec, observers)
                                   : call_on_tensors<Float16>(q, k, v, q_offsets, k_offsets, spec, observers);
}

namespace {

template <class T>
void many_forward(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, const Resolved& r,
                  HeadsView<T> out, const SoftmaxOutput& softmax, const Observers& observers, Insight* seen) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (const kernels::PairKernels* kernel = choose_pairs(shape_of(in.rest, r, DType::kBF16, false), spec)) {
      if (seen != nullptr) prepare_insight(shapes_of(in), observers, *seen);
      return run_pairs(*kernel, {in.q, in.k, in.v}, shapes_of(in), r, {out, {}}, softmax, observers, seen);
    }
  }
  const Widened wide = widen_inputs(in);
  Tensor result = Tensor::empty({in.q.dim(0), r.heads, r.dv});
  attention_forward(wide.inputs, spec, heads_view<float>(result), softmax, observers, seen);
  narrow_to(out, in.rest.q_offsets, result);
}

}  // namespace

template <class T>
void attention_forward(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, HeadsView<T> out,
                       SoftmaxOutput softmax, const Observers& observers, Insight* seen) {
  const char* call = "attention_forward";
  const AttentionInputs shapes = shapes_of(in);
  const Resolved r = resolve(call, shapes, spec);
  check_heads(call, "out", out, in.q.dim(0), r.heads, r.dv);
  check_observers(call, observers, in.k.dim(0), seen);
  const Few few = few_queries(shapes, r, spec);
  if (few != Few::kAll || observers.any()) many_forward(in, spec, r, out, softmax, observers, seen);
  if (few != Few::kNone) few_forward<T>(shapes, r, spec, in.q, in.k, in.v, out, softmax);
}

template <class T>
void attention_backward(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, HeadsView<const T> out,
                        SoftmaxInput softmax, HeadsView<const T> dout, const HalfAttentionGradients<T>& g,
                        const float* dlse) {
  const char* call = "attention_backward";
  const Resolved r = resolve(call, shapes_of(in), spec);
  check_heads(call, "out", out, in.q.dim(0), r.heads, r.dv);
  check_heads(call, "dout", dout, in.q.dim(0), r.heads, r.dv);
  if (g.dq.data != nullptr) check_heads(call, "dq", g.dq, in.q.dim(0), r.heads, in.q.dim(2));
  if (g.dk.data != nullptr) check_heads(call, "dk", g.dk, in.k.dim(0), r.kv_heads, in.k.dim(2));
  if (g.dv.data != nullptr) check_heads(call, "dv", g.dv, in.k.dim(0), r.kv_heads, r.dv);
  check_gradients(call, shapes_of(in), softmax, g.rest);
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (const kernels::PairKernels* kernel = choose_pairs(shape_of(in.rest, r, DType::kBF16, true), spec)) {
      const Buffer<float> delta = row_products(out, dout, in.rest.q_offsets, dlse);
      const SavedRows saved(softmax, in.q.dim(0) * r.heads);
      Tensor dq = like(g.dq);
      pair_backward(*kernel, {in.q, in.k, in.v}, without_data(shapes_of(in)), r, saved.data(), delta.data(),
                    dout, {dq ? heads_view<float>(dq) : HeadsView<float>{}, {g.dk, {}}, {g.dv, {}}, g.rest});
      if (dq) narrow_to(g.dq, in.rest.q_offsets, dq);
      return;
    }
  }
  const Widened wide = widen_inputs(in);
  const Offsets& q_offsets = in.rest.q_offsets;
  const Tensor wide_out = widened(out, q_offsets), wide_dout = widened(dout, q_offsets);
  Tensor dq = like(g.dq), dk = like(g.dk), dv = like(g.dv);
  AttentionGradients wide_g = g.rest;
  wide_g.dq = dq ? heads_view<float>(dq) : HeadsView<float>{};
  wide_g.dk = dk ? heads_view<float>(dk) : HeadsView<float>{};
  wide_g.dv = dv ? heads_view<float>(dv) : HeadsView<float>{};
  attention_backward(wide.inputs, spec, heads_view<float>(wide_out), softmax, heads_view<float>(wide_dout),
                     wide_g, dlse);
  if (dq) narrow_to(g.dq, q_offsets, dq);
  if (dk) narrow_to(g.dk, in.rest.k_offsets, dk);
  if (dv) narrow_to(g.dv, in.rest.k_offsets, dv);
}

template <class T>
Ragged attention_rows(const HalfAttentionInputs<T>& in, const AttentionSpec& spec,
                      std::span<const int64_t> queries, const float* shares) {
  resolve("attention_rows", shapes_of(in), spec);
  return attention_rows(widen_inputs(in).inputs, spec, queries, shares);
}

template <class T>
SampledKeyMass sampled_key_mass(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, int64_t samples,
                                RandomKey key, const float* shares) {
  resolve("sampled_key_mass", shapes_of(in), spec);
  return sampled_key_mass(widen_inputs(in).inputs, spec, samples, key, shares);
}

template <class T>
Tensor attention_key_mass(const HalfAttentionInputs<T>& in, const AttentionSpec& spec, SoftmaxInput softmax) {
  resolve("attention_key_mass", shapes_of(in), spec);
  return attention_key_mass(widen_inputs(in).inputs, spec, softmax);
}

bool fast_forward(const AttentionInputs& in, const AttentionSpec& spec, const Resolved& r,
                  HeadsView<float> out, const SoftmaxOutput& softmax, const Observers& observers,
                  Insight* seen) {
  if (spec.precision == Precision::kStrict) return false;
  const kernels::PairKernels* kernel = choose_pairs(shape_of(in, r, DType::kF32, false), spec);
  if (kernel == nullptr) return false;
  const Tensor q = rounded(in.q, in.q_offsets), k = rounded(in.k, in.k_offsets);
  const Tensor v = rounded(in.v, in.k_offsets);
  run_pairs(*kernel, {heads_view<BFloat16>(q), heads_view<BFloat16>(k), heads_view<BFloat16>(v)}, in, r,
            {{}, out}, softmax, observers, seen);
  return true;
}

bool fast_backward(const AttentionInputs& in, const AttentionSpec& spec, const Resolved& r,
                   const OutputGradient& output, const AttentionGradients& g) {
  if (spec.precision == Precision::kStrict) return false;
  const kernels::PairKernels* kernel = choose_pairs(shape_of(in, r, DType::kF32, true), spec);
  if (kernel == nullptr) return false;
  const Tensor q = rounded(in.q, in.q_offsets), k = rounded(in.k, in.k_offsets);
  const Tensor v = rounded(in.v, in.k_offsets), d_o = rounded(output.dout, in.q_offsets);
  const Buffer<float> delta = row_products(output.out, output.dout, in.q_offsets, output.dlse);
  pair_backward(*kernel, {heads_view<BFloat16>(q), heads_view<BFloat16>(k), heads_view<BFloat16>(v)},
                without_data(in), r, output.softmax, delta.data(), heads_view<BFloat16>(d_o),
                {g.dq, {{}, g.dk}, {{}, g.dv}, g});
  return true;
}

template void attention_forward(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&,
                                HeadsView<BFloat16>, SoftmaxOutput, const Observers&, Insight*);
template void attention_forward(const HalfAttentionInputs<Float16>&, const AttentionSpec&, HeadsView<Float16>,
                                SoftmaxOutput, const Observers&, Insight*);
template void attention_backward(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&,
                                 HeadsView<const BFloat16>, SoftmaxInput, HeadsView<const BFloat16>,
                                 const HalfAttentionGradients<BFloat16>&, const float*);
template void attention_backward(const HalfAttentionInputs<Float16>&, const AttentionSpec&,
                                 HeadsView<const Float16>, SoftmaxInput, HeadsView<const Float16>,
                                 const HalfAttentionGradients<Float16>&, const float*);
template Ragged attention_rows(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&,
                               std::span<const int64_t>, const float*);
template Ragged attention_rows(const HalfAttentionInputs<Float16>&, const AttentionSpec&,
                               std::span<const int64_t>, const float*);
template Tensor attention_key_mass(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&, SoftmaxInput);
template Tensor attention_key_mass(const HalfAttentionInputs<Float16>&, const AttentionSpec&, SoftmaxInput);
template SampledKeyMass sampled_key_mass(const HalfAttentionInputs<BFloat16>&, const AttentionSpec&, int64_t,
                                         RandomKey, const float*);
template SampledKeyMass sampled_key_mass(const HalfAttentionInputs<Float16>&, const AttentionSpec&, int64_t,
                                         RandomKey, const float*);

}  // namespace fovea
