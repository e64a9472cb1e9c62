// The checked call: cuts work from shapes, calls the kernels, gathers what was seen.
#pragma once

#include "attention/resolve.hpp"

namespace fovea {

// What both the float32 and the 16-bit calls check.
// `keys`: Tk.
void check_observers(const char* call, const Observers& observers, int64_t keys, const Insight* seen);
void check_gradients(const char* call, const AttentionInputs& inputs, const float* lse,
                     const AttentionGradients& gradients);

// The tensors that the observers ask for.
void prepare_insight(const AttentionInputs& inputs, const Observers& observers, Insight& seen);

// lse is not null when anything is observed. The tensors of `seen` are allocated, key_mass and block_mass
// zeroed.
void fused_forward(const AttentionInputs& inputs, const Resolved& r, HeadsView<float> out, float* lse,
                   const Observers& observers, Insight* seen);
// A second pass over the scores: key mass and sums over weights, as far as the observers ask for them.
void fused_second_pass(const AttentionInputs& inputs, const Resolved& r, const float* lse,
                       const Observers& observers, Insight& seen);
void fused_backward(const AttentionInputs& inputs, const Resolved& r, HeadsView<const float> out,
                    const float* lse, HeadsView<const float> dout, const AttentionGradients& gradients);

// dscales[h] += Σ q·dq / scale, from the dq that fused_backward has written: q·dq_i = scale·Σ_j
// dS_ij·(q_i·k_j). `r` is as before afterwards.
void scale_gradient(const AttentionInputs& inputs, Resolved& r, HeadsView<const float> out, const float* lse,
                    HeadsView<const float> dout, HeadsView<const float> dq, float* dscales);

}  // namespace fovea
