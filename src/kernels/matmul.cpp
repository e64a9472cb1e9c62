#include "fovea/kernels/matmul.hpp"

#include "kernels/matmul_tiles.hpp"

namespace fovea::kernels {
namespace {

// Blocks are cut on multiples of these: whole register tiles of every instruction set.
constexpr int64_t kRowUnit = 12;
constexpr int64_t kColumnUnit = 32;

// Each block packs its part of B anew (and of A where that lies in columns): one hundredth of the work where
// a block has so many rows. Columns are cut first, for that packs no part of B twice.
MatmulCut cut_of(const MatmulLayout& s) {
  return MatmulCut::cheapest(s, 96, s.m >= 192 ? 128 : 64, s.transpose_a ? 1.0 : 0.5);
}

}  // namespace

void matmul(const Matmul& spec, const float* a, const float* b, float* c) {
  const MatmulLayout s(spec);
  if (s.k <= 0) return empty_product(s, c);
  for_blocks(s, cut_of(s), kRowUnit, kColumnUnit, [&](const MatmulBlock& block) {
    float* to = c + block.row * s.ldc + block.col;
    prepare_block(s, block.m, block.n, s.bias == nullptr ? nullptr : s.bias + block.col, to);
    tile_product(s, block.m, block.n, a + s.offset_a(block.row), b + s.offset_b(block.col),
                 s.accumulate || s.bias != nullptr, to);
  });
}

}  // namespace fovea::kernels
