// Attention on 16-bit inputs: q, k, v, out and their gradients in bf16 or f16; sums, softmax and lse in
// float32. Same options, layouts and guarantees as the float32 calls of attention.hpp. The kernel is chosen
// as attention_plan() (plan.hpp) tells; where no 16-bit kernel serves a call, the inputs are widened to
// float32 (exactly) and the float32 kernels run, at 4 bytes an element of workspace. Thread-safe.
//
// Error against exact arithmetic on the same 16-bit inputs, u = 2^-8 (bf16) or 2^-11 (f16) being half a unit
// in the last place: widened, that of float32 plus u·|out| for the rounding of the result; a bf16 kernel also
// rounds the weights (and in backward dS) to bf16: out within 2u·max|v|.
#pragma once

#include <cstdint>
#include <span>

#include "fovea/attention/attention.hpp"
#include "fovea/tensor/dtype.hpp"

namespace fovea {

// T is BFloat16 or Float16.
template <class T>
struct HalfAttentionInputs {
  HeadsView<const T> q{};  // [Tq, H, D]
  HeadsView<const T> k{};  // [Tk, Hkv, D]
  HeadsView<const T> v{};  // [Tk, Hkv, Dv]
  AttentionInputs rest{};  // offsets, biases and sinks, in float32; its own q, k and v are not looked at
};

// Where the gradients of a 16-bit call go: those of q, k and v in T, rounded once, the others in float32.
template <class T>
struct HalfAttentionGradients {
  HeadsView<T> dq{}, dk{}, dv{};  // overwritten; a view without data is not written
  AttentionGradients rest{};  // the float32 gradients (bias, sinks, …); its own dq, dk and dv are not written
};

// As attention_forward of attention.hpp; out [Tq, H, Dv] is rounded to T once, from float32.
template <class T>
void attention_forward(const HalfAttentionInputs<T>& inputs, const AttentionSpec& spec, HeadsView<T> out,
                       SoftmaxOutput softmax, const Observers& observers = {}, Insight* seen = nullptr);

// As attention_backward of attention.hpp.
template <class T>
void attention_backward(const HalfAttentionInputs<T>& inputs, const AttentionSpec& spec,
                        HeadsView<const T> out, SoftmaxInput softmax, HeadsView<const T> dout,
                        const HalfAttentionGradients<T>& gradients, const float* dlse = nullptr);

// As attention_rows of attention.hpp: the weights are computed in float64 from the 16-bit inputs.
template <class T>
Ragged attention_rows(const HalfAttentionInputs<T>& inputs, const AttentionSpec& spec,
                      std::span<const int64_t> queries, const float* shares = nullptr);

// As sampled_key_mass of attention.hpp; from the 16-bit inputs, in float64.
template <class T>
SampledKeyMass sampled_key_mass(const HalfAttentionInputs<T>& inputs, const AttentionSpec& spec,
                                int64_t samples, RandomKey key, const float* shares = nullptr);

// As attention_key_mass of merge.hpp; from the 16-bit inputs, in float32.
template <class T>
Tensor attention_key_mass(const HalfAttentionInputs<T>& inputs, const AttentionSpec& spec,
                          SoftmaxInput softmax);

}  // namespace fovea
