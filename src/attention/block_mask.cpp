#include "fovea/attention/block_mask.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <unordered_map>

#include "attention/block_mask_data.hpp"
#include "base/check.hpp"

namespace fovea {
namespace {

constexpr int64_t kTile = 64;

uint64_t low_bits(int64_t count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// Distinct partial tiles, found again by their bits.
class TileStore {
 public:
  explicit TileStore(std::vector<uint64_t>& words) : words_(words) {}

  int32_t add(const uint64_t* tile) {
    uint64_t hash = 0x9E3779B97F4A7C15u;
    for (int64_t i = 0; i < kTile; ++i) hash = (hash ^ tile[i]) * 0xD6E8FEB86659FD93u + (hash >> 32);
    std::vector<int32_t>& same = found_[hash];
    for (const int32_t index : same) {
      if (std::equal(tile, tile + kTile, words_.data() + int64_t{index} * kTile)) return index;
    }
    const auto index = static_cast<int32_t>(words_.size() / static_cast<size_t>(kTile));
    words_.insert(words_.end(), tile, tile + kTile);
    same.push_back(index);
    return index;
  }

 private:
  std::vector<uint64_t>& words_;
  std::unordered_map<uint64_t, std::vector<int32_t>> found_;
};

}  // namespace

BlockMask compile_mask(int64_t lq, int64_t lk, FunctionRef<void(int64_t i, uint64_t* row)> write) {
  check_argument(lq >= 0 && lk >= 0 && lq < int64_t{1} << 31 && lk < int64_t{1} << 31, "block_mask",
                 "expected lengths in [0, 2^31), got {} queries and {} keys", lq, lk);
  auto data = std::make_shared<BlockMask::Data>();
  data->lq = lq;
  data->lk = lk;
  TileStore store(data->words);
  const int64_t columns = (lk + kTile - 1) / kTile;
  std::vector<uint64_t> bits(static_cast<size_t>(kTile * columns));
  std::vector<uint64_t> any(static_cast<size_t>(columns)), all(static_cast<size_t>(columns));
  for (int64_t first = 0; first < lq; first += kTile) {
    const int64_t rows = std::min(kTile, lq - first);
    std::fill(bits.begin(), bits.end(), 0);
    // Row by row, so that memory is read in order: most tiles are empty or full, and need no more than this.
    std::fill(any.begin(), any.end(), 0);
    std::fill(all.begin(), all.end(), ~uint64_t{0});
    for (int64_t i = 0; i < rows; ++i) {
      uint64_t* row = bits.data() + i * columns;
      write(first + i, row);
      for (size_t column = 0; column < any.size(); ++column) {
        any[column] |= row[column];
        all[column] &= row[column];
      }
    }
    for (int64_t column = 0; column < columns; ++column) {
      const uint64_t exist = low_bits(lk - column * kTile);
      const auto at = static_cast<size_t>(column);
      if ((any[at] & exist) == 0) continue;
      if ((all[at] & exist) == exist) {
        data->pairs += rows * std::popcount(exist);
        data->tiles.push_back({static_cast<int32_t>(column), -1});
        continue;
      }
      uint64_t tile[kTile] = {};
      for (int64_t i = 0; i < rows; ++i) {
        tile[i] = bits[static_cast<size_t>(i * columns + column)] & exist;
        data->pairs += std::popcount(tile[i]);
      }
      data->tiles.push_back({static_cast<int32_t>(column), store.add(tile)});
    }
    data->rows.push_back(static_cast<int64_t>(data->tiles.size()));
  }
  return BlockMask(std::move(data));
}

BlockMask::BlockMask() : data_(std::make_shared<const Data>()) {}
BlockMask::BlockMask(std::shared_ptr<const Data> data) : data_(std::move(data)) {}

int64_t BlockMask::queries() const {
  return data_->lq;
}
int64_t BlockMask::keys() const {
  return data_->lk;
}
int64_t BlockMask::pairs() const {
  return data_->pairs;
}
int64_t BlockMask::live_tiles() const {
  return static_cast<int64_t>(data_->tiles.size());
}
int64_t BlockMask::partial_tiles() const {
  return std::count_if(data_->tiles.begin(), data_->tiles.end(), [](const auto& t) { return t.words >= 0; });
}
int64_t BlockMask::bytes() const {
  return static_cast<int64_t>(data_->rows.size() * sizeof(int64_t) +
                              data_->tiles.size() * sizeof(kernels::AttentionTile) +
                              data_->words.size() * sizeof(uint64_t));
}

bool BlockMask::sees(int64_t i, int64_t j) const {
  check_argument(i >= 0 && i < queries() && j >= 0 && j < keys(), "block_mask",
                 "expected a query in [0, {}) and a key in [0, {}), got {} and {}", queries(), keys(), i, j);
  const auto at = [&](int64_t t) { return data_->tiles.begin() + data_->rows[static_cast<size_t>(t)]; };
  const auto end = at(i / kTile + 1);
  const auto tile = std::lower_bound(at(i / kTile), end, j / kTile,
                                     [](const auto& t, int64_t column) { return t.key_block < column; });
  if (tile == end || tile->key_block != j / kTile) return false;
  if (tile->words < 0) return true;
  return (data_->words[static_cast<size_t>(tile->words * kTile + i % kTile)] >> (j % kTile) & 1) != 0;
}

namespace {

// The word of tile column `column` in query i's row, 0 where the tile is skipped; `tile` advances.
void read_row(const BlockMask::Data& data, int64_t i, FunctionRef<void(int64_t column, uint64_t word)> use) {
  for (int64_t t = data.rows[static_cast<size_t>(i / kTile)];
       t < data.rows[static_cast<size_t>(i / kTile + 1)]; ++t) {
    const kernels::AttentionTile& tile = data.tiles[static_cast<size_t>(t)];
    use(tile.key_block, tile.words < 0
                            ? ~uint64_t{0}
                            : data.words[static_cast<size_t>(int64_t{tile.words} * kTile + i % kTile)]);
  }
}

void check_same_lengths(const BlockMask& a, const BlockMask& b) {
  check_argument(a.queries() == b.queries() && a.keys() == b.keys(), "block_mask",
                 "expected masks of equal lengths, got [{}, {}] and [{}, {}]", a.queries(), a.keys(),
                 b.queries(), b.keys());
}

}  // namespace

BlockMask operator|(const BlockMask& a, const BlockMask& b) {
  check_same_lengths(a, b);
  return compile_mask(a.queries(), a.keys(), [&](int64_t i, uint64_t* row) {
    for (const BlockMask* mask : {&a, &b})
      read_row(mask->data(), i, [&](int64_t column, uint64_t word) { row[column] |= word; });
  });
}

BlockMask operator&(const BlockMask& a, const BlockMask& b) {
  check_same_lengths(a, b);
  std::vector<uint64_t> other(static_cast<size_t>((a.keys() + kTile - 1) / kTile));
  return compile_mask(a.queries(), a.keys(), [&](int64_t i, uint64_t* row) {
    std::fill(other.begin(), other.end(), 0);
    read_row(a.data(), i, [&](int64_t column, uint64_t word) { other[static_cast<size_t>(column)] = word; });
    read_row(b.data(), i,
             [&](int64_t column, uint64_t word) { row[column] = word & other[static_cast<size_t>(column)]; });
  });
}

}  // namespace fovea
