// The checked call: cuts work from shapes, calls the kernels, gathers what was seen.
#pragma once

#include "attention/resolve.hpp"

namespace fovea {

// What both the float32 and the 16-bit calls check.
// `keys`: Tk.
void check_observers(const char* call, const Observers& observers, int64_t keys, const Insight* seen);
void check_gradients(const char* call, const AttentionInputs& inputs, const SoftmaxInput& softmax,
                     const AttentionGradients& gradients);

// Makes the tensors of a result for what the softmax leaves.
inline SoftmaxOutput softmax_tensors(AttentionResult& result, int64_t rows, int64_t heads) {
  result.lse = Tensor::empty({rows, heads});
  result.seen.softmax_rows = Tensor::empty({rows, heads, 2});
  return {result.lse.data(), reinterpret_cast<SoftmaxRow*>(result.seen.softmax_rows.data())};
}

// What a call's output was, and the gradient that arrives at it.
struct OutputGradient {
  HeadsView<const float> out;
  const SoftmaxRow* softmax;  // [Tq, H]
  HeadsView<const float> dout;
  const float* dlse;  // [Tq, H]; null: zeros
};

// The tensors that the observers ask for.
void prepare_insight(const AttentionInputs& inputs, const Observers& observers, Insight& seen);

// The tensors of `seen` are allocated, key_mass and block_mass zeroed.
void fused_forward(const AttentionInputs& inputs, const Resolved& r, HeadsView<float> out,
                   SoftmaxOutput softmax, const Observers& observers, Insight* seen);
// A second pass over the scores: key mass and sums over weights, as far as the observers ask for them.
void fused_second_pass(const AttentionInputs& inputs, const Resolved& r, const SoftmaxRow* softmax,
                       const Observers& observers, Insight& seen);
void fused_backward(const AttentionInputs& inputs, const Resolved& r, const OutputGradient& output,
                    const AttentionGradients& gradients);

// dscales[h] += Σ q·dq / scale, from the dq that fused_backward has written: q·dq_i = scale·Σ_j
// dS_ij·(q_i·k_j). `r` is as before afterwards.
void scale_gradient(const AttentionInputs& inputs, Resolved& r, const OutputGradient& output,
                    HeadsView<const float> dq, float* dscales);

}  // namespace fovea
