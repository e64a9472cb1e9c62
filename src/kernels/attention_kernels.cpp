#include "kernels/attention_kernels.hpp"

#include "fovea/base/cpu.hpp"

namespace fovea::kernels {

// Defined beside the kernels' bodies.
decltype(AttentionKernels::forward) attention_forward(Isa isa);
decltype(AttentionKernels::backward) attention_backward(Isa isa);
decltype(AttentionKernels::mass) attention_mass(Isa isa);
decltype(AttentionKernels::forward_workspace) attention_forward_workspace(Isa isa);
decltype(AttentionKernels::backward_workspace) attention_backward_workspace(Isa isa);
decltype(AttentionKernels::mass_workspace) attention_mass_workspace(Isa isa);
decltype(AttentionKernels::forward_sums_workspace) attention_forward_sums_workspace(Isa isa);
decltype(AttentionKernels::mass_sums_workspace) attention_mass_sums_workspace(Isa isa);
int64_t attention_query_chunk(Isa isa);
decltype(AttentionKernels::score_tiles_size) attention_score_tiles_size(Isa isa);
decltype(AttentionKernels::begin_score_tiles) attention_begin_score_tiles(Isa isa);
decltype(AttentionKernels::add_score_tiles) attention_add_score_tiles(Isa isa);

namespace {

AttentionKernels kernels_of(Isa isa) {
  return {attention_forward(isa),
          attention_backward(isa),
          attention_mass(isa),
          attention_forward_workspace(isa),
          attention_backward_workspace(isa),
          attention_mass_workspace(isa),
          attention_forward_sums_workspace(isa),
          attention_mass_sums_workspace(isa),
          attention_query_chunk(isa),
          attention_score_tiles_size(isa),
          attention_begin_score_tiles(isa),
          attention_add_score_tiles(isa)};
}

}  // namespace

const AttentionKernels& attention_kernels() {
  static const AttentionKernels tables[] = {kernels_of(Isa::kBaseline), kernels_of(Isa::kAvx2),
                                            kernels_of(Isa::kAvx512)};
  return tables[static_cast<size_t>(current_isa())];
}

}  // namespace fovea::kernels
