// Calls on 16-bit arrays, and float32 calls that bf16 kernels serve.
#pragma once

#include "attention/fused.hpp"
#include "fovea/attention/attention.hpp"

namespace fovea {

// q, k and v of q's dtype, bf16 or f16; so is the result's out.
AttentionResult half_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offsets,
                               const Offsets& k_offsets, const AttentionSpec& spec,
                               const Observers& observers);

// Serve a float32 call of precision fast by rounding its inputs to bf16; false: no bf16 kernel takes it,
// nothing done.
bool fast_forward(const AttentionInputs& inputs, const AttentionSpec& spec, const Resolved& r,
                  HeadsView<float> out, const SoftmaxOutput& softmax, const Observers& observers,
                  Insight* seen);
bool fast_backward(const AttentionInputs& inputs, const AttentionSpec& spec, const Resolved& r,
                   const OutputGradient& output, const AttentionGradients& gradients);

inline bool is_half(const Tensor& x) {
  return x.defined() && (x.dtype() == DType::kBF16 || x.dtype() == DType::kF16);
}

}  // namespace fovea
