// What was seen, as a dictionary of what there is.
#pragma once

#include <nanobind/nanobind.h>

#include "arrays.hpp"
#include "fovea/attention/observe.hpp"
#include "fovea/attention/softmax.hpp"

namespace fovea::python {

// Of a tensor [T, H, 2].
inline SoftmaxRow* softmax_rows(Tensor& saved) {
  return reinterpret_cast<SoftmaxRow*>(saved.data());
}

// `saved`: what the softmax leaves, for later calls on the same rows.
inline nanobind::dict to_dict(const Tensor& lse, const Tensor& saved, const Insight& seen) {
  nanobind::dict found;
  const auto keep = [&](const char* name, const Tensor& x) {
    if (x.defined()) found[name] = to_numpy(x);
  };
  keep("lse", lse);
  keep("saved", saved);
  keep("entropy", seen.entropy);
  keep("max", seen.max_weight);
  keep("max_key", seen.max_key);
  keep("top_k_indices", seen.top_k_keys);
  keep("top_k_weights", seen.top_k_weights);
  keep("key_mass", seen.key_mass);
  keep("effective_keys", seen.effective_keys);
  keep("distance", seen.expected_distance);
  keep("first_key_mass", seen.first_key_mass);
  keep("near_mass", seen.near_mass);
  keep("set_mass", seen.set_mass);
  keep("block_mass", seen.block_mass);
  return found;
}

}  // namespace fovea::python
