// The checked call: cuts work from shapes, calls the kernels, gathers what was seen.
#pragma once

#include "attention/resolve.hpp"

namespace fovea {

// lse is not null when anything is observed. The tensors of `seen` are allocated, key_mass zeroed.
void fused_forward(const AttentionInputs& inputs, const Resolved& r, HeadsView<float> out, float* lse,
                   const Observers& observers, Insight* seen);
void fused_backward(const AttentionInputs& inputs, const Resolved& r, HeadsView<const float> out,
                    const float* lse, HeadsView<const float> dout, const AttentionGradients& gradients);

}  // namespace fovea
