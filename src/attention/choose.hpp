// The ordered list of kernels, each with its reason to decline.
#pragma once

#include "attention/resolve.hpp"
#include "fovea/attention/plan.hpp"
#include "kernels/attention_pair_kernels.hpp"

namespace fovea {

// The bf16 kernels that serve a call; null when the float32 kernels do.
const kernels::PairKernels* choose_pairs(const AttentionShape& shape, const AttentionSpec& spec);

// The shape of a call for the choice.
inline AttentionShape shape_of(const AttentionInputs& in, const Resolved& r, DType dtype, bool backward) {
  const bool masks = in.bias.data != nullptr || in.mask.data != nullptr || !in.blocks.empty() ||
                     !in.override_heads.heads.empty();
  return {r.d, r.dv, dtype, r.has_distance(), backward, masks, !in.scales.empty()};
}

// The shape of a call for its gradients: a bias by distance matters only if its own gradient is wanted.
inline AttentionShape backward_shape_of(const AttentionInputs& in, const Resolved& r, DType dtype,
                                        const AttentionGradients& g) {
  AttentionShape shape = shape_of(in, r, dtype, true);
  shape.distance_bias = shape.distance_bias && (g.dtable != nullptr || g.dslopes != nullptr);
  return shape;
}

}  // namespace fovea
