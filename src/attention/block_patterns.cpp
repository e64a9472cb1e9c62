// The ready-made patterns of BlockMask.
#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "attention/block_mask_data.hpp"
#include "base/check.hpp"

namespace fovea {
namespace {

// Sets bits [begin, end) of a row.
void set_range(uint64_t* row, int64_t begin, int64_t end) {
  while (begin < end) {
    const int64_t stop = std::min(end, (begin / 64 + 1) * 64);
    row[begin / 64] |= ~uint64_t{0} >> (64 - (stop - begin)) << begin % 64;
    begin = stop;
  }
}

void set(uint64_t* row, int64_t j) {
  row[j / 64] |= uint64_t{1} << j % 64;
}

void check_positive(const char* what, int64_t value) {
  check_argument(value >= 1, "block_mask", "expected {} >= 1, got {}", what, value);
}
void check_count(const char* what, int64_t value) {
  check_argument(value >= 0, "block_mask", "expected {} >= 0, got {}", what, value);
}

}  // namespace

BlockMask BlockMask::from_bitmap(std::span<const uint8_t> bitmap, int64_t q_block, int64_t k_block,
                                 int64_t lq, int64_t lk) {
  check_positive("a block's queries", q_block);
  check_positive("a block's keys", k_block);
  const int64_t rows = (std::max<int64_t>(lq, 0) + q_block - 1) / q_block;
  const int64_t columns = (std::max<int64_t>(lk, 0) + k_block - 1) / k_block;
  check_argument(static_cast<int64_t>(bitmap.size()) == rows * columns, "block_mask",
                 "expected a bitmap of {} × {} blocks, got {} elements", rows, columns, bitmap.size());
  return compile_mask(lq, lk, [&](int64_t i, uint64_t* row) {
    const uint8_t* blocks = bitmap.data() + i / q_block * columns;
    for (int64_t b = 0; b < columns; ++b) {
      if (blocks[b] != 0) set_range(row, b * k_block, std::min(lk, (b + 1) * k_block));
    }
  });
}

BlockMask BlockMask::from_function(int64_t lq, int64_t lk, FunctionRef<bool(int64_t i, int64_t j)> sees) {
  return compile_mask(lq, lk, [&](int64_t i, uint64_t* row) {
    for (int64_t j = 0; j < lk; ++j) {
      if (sees(i, j)) set(row, j);
    }
  });
}

BlockMask BlockMask::all(int64_t lq, int64_t lk) {
  return compile_mask(lq, lk, [&](int64_t, uint64_t* row) { set_range(row, 0, lk); });
}

BlockMask BlockMask::causal(int64_t lq, int64_t lk) {
  return window(lq, lk, -1, 0);
}

BlockMask BlockMask::window(int64_t lq, int64_t lk, int64_t left, int64_t right) {
  check_argument(left >= -1 && right >= -1, "block_mask", "expected left and right >= -1, got {} and {}",
                 left, right);
  return compile_mask(lq, lk, [&](int64_t i, uint64_t* row) {
    const int64_t p = i + lk - lq;
    const int64_t begin = left < 0 ? 0 : std::max<int64_t>(0, p - std::min(left, lq + lk));
    const int64_t end = right < 0 ? lk : std::min(lk, p + std::min(right, lq + lk) + 1);
    set_range(row, begin, end);
  });
}

BlockMask BlockMask::strided(int64_t lq, int64_t lk, int64_t stride) {
  return dilated(lq, lk, -1, -1, stride);
}

BlockMask BlockMask::dilated(int64_t lq, int64_t lk, int64_t left, int64_t right, int64_t dilation) {
  check_positive("dilation", dilation);
  check_argument(left >= -1 && right >= -1, "block_mask", "expected left and right >= -1, got {} and {}",
                 left, right);
  return compile_mask(lq, lk, [&](int64_t i, uint64_t* row) {
    const int64_t p = i + lk - lq;
    const int64_t begin = left < 0 ? 0 : std::max<int64_t>(0, p - std::min(left, lq + lk));
    const int64_t end = right < 0 ? lk : std::min(lk, p + std::min(right, lq + lk) + 1);
    const int64_t phase = ((p - begin) % dilation + dilation) % dilation;  // begin + phase ≡ p
    for (int64_t j = begin + phase; j < end; j += dilation) set(row, j);
  });
}

BlockMask BlockMask::global_tokens(int64_t lq, int64_t lk, int64_t count) {
  check_count("global tokens", count);
  return compile_mask(
      lq, lk, [&](int64_t i, uint64_t* row) { set_range(row, 0, i < count ? lk : std::min(count, lk)); });
}

BlockMask BlockMask::random(int64_t lq, int64_t lk, int64_t block, int64_t per_row, RandomKey key) {
  check_positive("block", block);
  check_count("random blocks a row", per_row);
  const int64_t columns = (std::max<int64_t>(lk, 0) + block - 1) / block;
  std::vector<int64_t> order(static_cast<size_t>(columns));
  Random random(key);
  int64_t drawn = -1;
  return compile_mask(lq, lk, [&](int64_t i, uint64_t* row) {
    const int64_t chosen = std::min(per_row, columns);
    if (i / block != drawn) {  // the first `chosen` places of a shuffle
      drawn = i / block;
      for (int64_t n = 0; n < columns; ++n) order[static_cast<size_t>(n)] = n;
      for (int64_t n = 0; n < chosen; ++n) {
        const auto other = n + static_cast<int64_t>(random.below(static_cast<uint64_t>(columns - n)));
        std::swap(order[static_cast<size_t>(n)], order[static_cast<size_t>(other)]);
      }
    }
    for (int64_t n = 0; n < chosen; ++n) {
      const int64_t b = order[static_cast<size_t>(n)];
      set_range(row, b * block, std::min(lk, (b + 1) * block));
    }
  });
}

BlockMask BlockMask::prefix(int64_t lq, int64_t lk, int64_t length) {
  check_count("a prefix's length", length);
  return compile_mask(lq, lk, [&](int64_t i, uint64_t* row) {
    set_range(row, 0, std::clamp<int64_t>(i + lk - lq + 1, std::min(length, lk), lk));
  });
}

BlockMask BlockMask::documents(std::span<const int64_t> q_ids, std::span<const int64_t> k_ids) {
  // Documents mostly lie in one piece: runs of equal ids, listed by id.
  std::unordered_map<int64_t, std::vector<std::pair<int64_t, int64_t>>> runs;
  const auto lk = static_cast<int64_t>(k_ids.size());
  for (int64_t begin = 0, end = 0; begin < lk; begin = end) {
    const int64_t id = k_ids[static_cast<size_t>(begin)];
    for (end = begin; end < lk && k_ids[static_cast<size_t>(end)] == id;) ++end;
    runs[id].emplace_back(begin, end);
  }
  return compile_mask(static_cast<int64_t>(q_ids.size()), lk, [&](int64_t i, uint64_t* row) {
    const auto found = runs.find(q_ids[static_cast<size_t>(i)]);
    if (found == runs.end()) return;
    for (const auto& [begin, end] : found->second) set_range(row, begin, end);
  });
}

BlockMask longformer(int64_t length, int64_t window, int64_t global) {
  check_count("a window", window);
  return BlockMask::window(length, length, window, window) | BlockMask::global_tokens(length, length, global);
}

BlockMask big_bird(int64_t length, int64_t block, int64_t global, int64_t window, int64_t random,
                   RandomKey key) {
  check_positive("block", block);
  check_argument(window >= 1 && window % 2 == 1, "big_bird", "expected an odd window of blocks, got {}",
                 window);
  const int64_t count = (std::max<int64_t>(length, 0) + block - 1) / block;
  std::vector<uint8_t> band(static_cast<size_t>(count * count));
  for (int64_t r = 0; r < count; ++r) {
    const int64_t end = std::min(count, r + window / 2 + 1);
    for (int64_t c = std::max<int64_t>(0, r - window / 2); c < end; ++c)
      band[static_cast<size_t>(r * count + c)] = 1;
  }
  return BlockMask::from_bitmap(band, block, block, length, length) |
         BlockMask::global_tokens(length, length, global * block) |
         BlockMask::random(length, length, block, random, key);
}

BlockMask sparse_transformer(int64_t length, int64_t stride, SparsePattern pattern) {
  check_positive("stride", stride);
  return compile_mask(length, length, [&](int64_t i, uint64_t* row) {
    if (pattern == SparsePattern::kStrided) {
      set_range(row, std::max<int64_t>(0, i - stride), i + 1);
      for (int64_t j = i % stride; j <= i; j += stride) set(row, j);
    } else {
      set_range(row, i / stride * stride, i + 1);
      for (int64_t j = stride - 1; j <= i; j += stride) set(row, j);
    }
  });
}

}  // namespace fovea
