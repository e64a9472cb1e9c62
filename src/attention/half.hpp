// The 16-bit branch of the calls on tensors.
#pragma once

#include "fovea/attention/attention.hpp"

namespace fovea {

// q, k and v of q's dtype, bf16 or f16; so is the result's out.
AttentionResult half_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offsets,
                               const Offsets& k_offsets, const AttentionSpec& spec,
                               const Observers& observers);

inline bool is_half(const Tensor& x) {
  return x.defined() && (x.dtype() == DType::kBF16 || x.dtype() == DType::kF16);
}

}  // namespace fovea
