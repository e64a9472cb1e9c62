// What a BlockMask holds, as the kernels read it.
#pragma once

#include <vector>

#include "fovea/attention/block_mask.hpp"
#include "kernels/attention_kernels.hpp"

namespace fovea {

struct BlockMask::Data {
  int64_t lq = 0, lk = 0, pairs = 0;
  std::vector<int64_t> rows{0};  // tiles[rows[t]] … tiles[rows[t + 1] − 1] are of queries 64·t … 64·t + 63
  std::vector<kernels::AttentionTile> tiles;
  std::vector<uint64_t> words;  // 64 a distinct partial tile
};

// write(i, row) sets bits of a zeroed row: bit j % 64 of word j / 64 means that query i sees key j. Bits from
// lk on are ignored. Called once a query, in order.
BlockMask compile_mask(int64_t lq, int64_t lk, FunctionRef<void(int64_t i, uint64_t* row)> write);

}  // namespace fovea
