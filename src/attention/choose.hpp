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
  const bool biases =
      r.has_distance() || in.bias.data != nullptr || in.mask.data != nullptr || !in.blocks.empty();
  return {r.d, r.dv, dtype, backward, biases, !in.override_heads.heads.empty(), !in.scales.empty()};
}

}  // namespace fovea
