// The checked call on bf16 arrays with bf16 kernels: cuts work from shapes, packs keys and values once a
// head, calls the kernels.
#pragma once

#include "attention/resolve.hpp"
#include "kernels/attention_pair_kernels.hpp"

namespace fovea {

struct PairArrays {
  HeadsView<const BFloat16> q, k, v;
};
// A result in bf16, or in float32.
struct PairOutput {
  HeadsView<BFloat16> half{};
  HeadsView<float> wide{};
  bool wanted() const { return half.data != nullptr || wide.data != nullptr; }
};

// `in` has the options; its q, k and v have shapes but no data. The observers ask for no key mass.
void pair_forward(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
                  const Resolved& r, const PairOutput& out, const SoftmaxOutput& softmax,
                  const Observers& observers, Insight* seen);

struct PairGradients {
  HeadsView<float> dq{};  // without data: not wanted
  PairOutput dk, dv;
  AttentionGradients rest{};  // of sinks and biases; its own dq, dk and dv are not looked at
};
// delta [Tq, H] = rowsum(dout∘out) − dlse.
void pair_backward(const kernels::PairKernels& kernel, const PairArrays& x, const AttentionInputs& in,
                   const Resolved& r, const SoftmaxRow* softmax, const float* delta,
                   HeadsView<const BFloat16> dout, const PairGradients& gradients);

}  // namespace fovea
