#include "kernels/attention_pair_kernels.hpp"

namespace fovea::kernels {

// Defined beside the kernels' bodies.
void fill_pair_forward(Isa isa, PairEngine engine, PairKernels& kernels);
void fill_pair_backward(Isa isa, PairEngine engine, PairKernels& kernels);

namespace {

PairKernels kernels_of(Isa isa, PairEngine engine) {
  PairKernels kernels{};
  fill_pair_forward(isa, engine, kernels);
  fill_pair_backward(isa, engine, kernels);
  return kernels;
}

}  // namespace

const PairKernels& pair_kernels(PairEngine engine) {
  static const PairKernels software[] = {kernels_of(Isa::kBaseline, PairEngine::kSoftware),
                                         kernels_of(Isa::kAvx2, PairEngine::kSoftware),
                                         kernels_of(Isa::kAvx512, PairEngine::kSoftware)};
  static const PairKernels instruction = kernels_of(Isa::kAvx512, PairEngine::kInstruction);
  return engine == PairEngine::kInstruction ? instruction : software[static_cast<size_t>(current_isa())];
}

}  // namespace fovea::kernels
