#include "fovea/kernels/matmul.hpp"

#if defined(__x86_64__)
#include <dnnl.h>
#endif

#include "fovea/base/memory.hpp"
#include "fovea/kernels/transpose.hpp"
#include "kernels/matmul_tiles.hpp"

namespace fovea::kernels {
namespace {

// oneDNN's sgemm takes any strides and transposes, looks nothing up and reaches 80-86 % of the peak from 16
// rows on; its primitives with packed weights gain 2-8 % more and would have to be packed again after each
// training step. It has such code for x86-64 only.
void product(const MatmulLayout& s, int64_t m, int64_t n, const float* a, const float* b, const float* bias,
             float* c) {
  prepare_block(s, m, n, bias, c);
  const bool add = s.accumulate || bias != nullptr;
#if defined(__x86_64__)
  dnnl_sgemm(s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', m, n, s.k, 1.0f, a, s.lda, b, s.ldb,
             add ? 1.0f : 0.0f, c, s.ldc);
#else
  tile_product(s, m, n, a, b, add, c);
#endif
}

// From this many rows on, a transposed B is turned round once (0.1 ns an element) rather than by every block
// of C, which gains up to 15 %. Below, packing it is most of the work either way.
constexpr int64_t kRowsWorthTransposing = 192;

void blocks(const MatmulLayout& s, const float* a, const float* b, float* c) {
  for_blocks(s, 16, 1, [&](const MatmulBlock& block) {
    product(s, block.m, block.n, a + s.offset_a(block.row), b + s.offset_b(block.col),
            s.bias == nullptr ? nullptr : s.bias + block.col, c + block.row * s.ldc + block.col);
  });
}

}  // namespace

void matmul(const Matmul& spec, const float* a, const float* b, float* c) {
  MatmulLayout s(spec);
  if (s.k <= 0) return empty_product(s, c);
  if (!s.transpose_b || s.m < kRowsWorthTransposing || s.n <= 0) return blocks(s, a, b, c);
  const int64_t stride = transpose_stride(s.n);
  Buffer<float> turned(static_cast<size_t>(s.k * stride));
  transpose(s.n, s.k, b, s.ldb, turned.data(), stride);
  s.transpose_b = false;
  s.ldb = stride;
  blocks(s, a, turned.data(), c);
}

}  // namespace fovea::kernels
