#include "fovea/kernels/matmul.hpp"

#include <dnnl.h>

#include "kernels/matmul_blocks.hpp"

namespace fovea::kernels {
namespace {

// oneDNN's sgemm takes any strides and transposes, looks nothing up and reaches 80-86 % of the peak from 16 rows on;
// its primitives with packed weights gain 2-8 % more and would have to be packed again after each training step.
void product(const MatmulLayout& s, int64_t m, int64_t n, const float* a, const float* b, const float* bias,
             float* c) {
  prepare_block(s, m, n, bias, c);
  const float beta = s.accumulate || bias != nullptr ? 1.0f : 0.0f;
  dnnl_sgemm(s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', m, n, s.k, 1.0f, a, s.lda, b, s.ldb, beta, c,
             s.ldc);
}

}  // namespace

void matmul(const Matmul& spec, const float* a, const float* b, float* c) {
  const MatmulLayout s(spec);
  for_blocks(s, c, [&](const MatmulBlock& block) {
    product(s, block.m, block.n, a + s.offset_a(block.row), b + s.offset_b(block.col),
            spec.bias == nullptr ? nullptr : spec.bias + block.col, c + block.row * s.ldc + block.col);
  });
}

}  // namespace fovea::kernels
