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

// Of each instruction set.
struct Software {
  PairKernels kernels[3];
  explicit Software(PairEngine engine)
      : kernels{kernels_of(Isa::kBaseline, engine), kernels_of(Isa::kAvx2, engine),
                kernels_of(Isa::kAvx512, engine)} {}
  const PairKernels& current() const { return kernels[static_cast<size_t>(current_isa())]; }
};

}  // namespace

const PairKernels& pair_kernels(PairEngine engine) {
  static const Software software(PairEngine::kSoftware), tiles(PairEngine::kSoftwareTiles);
  static const PairKernels instruction = kernels_of(Isa::kAvx512, PairEngine::kInstruction);
  static const PairKernels amx = kernels_of(Isa::kAvx512, PairEngine::kAmx);
  switch (engine) {
    case PairEngine::kSoftwareTiles:
      return tiles.current();
    case PairEngine::kInstruction:
      return instruction;
    case PairEngine::kAmx:
      return amx;
    case PairEngine::kSoftware:
      break;
  }
  return software.current();
}

}  // namespace fovea::kernels
