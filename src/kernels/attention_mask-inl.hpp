// Which keys of a key block the queries of a panel look at: cut by causality and windows, then by a block
// mask and a boolean mask, whose wholly hidden tiles are never computed.
#if defined(FOVEA_ATTENTION_MASK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_MASK_INL
#undef FOVEA_ATTENTION_MASK_INL
#else
#define FOVEA_ATTENTION_MASK_INL
#endif

#include <bit>

#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// kLanes queries of a sequence, from row on, of which `rows` exist.
struct QueryColumn {
  int64_t row = 0, rows = 0;
};

HWY_INLINE int64_t first_key(const AttentionHead& h, int64_t row) {
  return std::clamp<int64_t>(row + h.k_length - h.q_length - h.left, 0, h.k_length);
}
HWY_INLINE int64_t end_key(const AttentionHead& h, int64_t row) {
  return std::clamp<int64_t>(row + h.k_length - h.q_length + h.right + 1, 0, h.k_length);
}

// The keys of the block [block, block_end) that a column sees, relative to the block; rounded outwards to
// register tiles, so that runs are cut between them. {0, 0} when it sees none.
HWY_INLINE KeyRun column_run(const AttentionHead& h, QueryColumn q, int64_t block, int64_t block_end) {
  const int64_t begin = std::max(first_key(h, q.row), block) - block;
  const int64_t end = std::min(end_key(h, q.row + q.rows - 1), block_end) - block;
  if (begin >= end) return {0, 0};
  return {begin / kTileRows * kTileRows, std::min(round_up(end, kTileRows), block_end - block)};
}

// The runs of the one or two columns of a panel; `columns` 1 or 2. A column that sees nothing takes no part.
HWY_INLINE PanelRuns panel_runs(const AttentionHead& h, const QueryColumn* q, int64_t columns, int64_t block,
                                int64_t block_end) {
  const KeyRun a = column_run(h, q[0], block, block_end);
  const KeyRun b = columns > 1 ? column_run(h, q[1], block, block_end) : KeyRun{0, 0};
  if (b.begin == b.end) return {{a, b}, a, {0, 0}, {0, 0}};
  if (a.begin == a.end) return {{a, b}, {0, 0}, {0, 0}, b};
  return cut_runs(a, b);
}

// The tiles of a block mask are as long as a key block, and hold whole panels.
inline constexpr int64_t kTileQueries = 64;
static_assert(kKeyBlock == 64 && kTileQueries % kPanel == 0);

// The first tile of a row of tiles at or after key `block`; the row's end when there is none.
HWY_INLINE const AttentionTile* tile_from(const AttentionHead& h, int64_t row, int64_t block) {
  const int64_t t = row / kTileQueries;
  const AttentionTile* end = h.tiles + h.tile_rows[t + 1];
  return std::lower_bound(h.tiles + h.tile_rows[t], end, block / kKeyBlock,
                          [](const AttentionTile& tile, int64_t key) { return tile.key_block < key; });
}

// The first key block at or after `block` that a query of [row, row_end) may see; past all keys when none.
HWY_INLINE int64_t next_block(const AttentionHead& h, int64_t row, int64_t row_end, int64_t block) {
  if (h.tile_rows == nullptr) return block;
  int64_t next = h.k_length;
  for (int64_t r = row; r < row_end; r = (r / kTileQueries + 1) * kTileQueries) {
    const AttentionTile* tile = tile_from(h, r, block);
    if (tile != h.tiles + h.tile_rows[r / kTileQueries + 1])
      next = std::min(next, tile->key_block * kKeyBlock);
  }
  return next;
}

// What a panel sees of a key block.
struct PanelView {
  PanelRuns runs;
  bool hides[2];                          // whether words of the column hide something within its run
  alignas(64) uint64_t words[2][kLanes];  // bit j: the query may see key j of the block
};

// A bit for each of the bytes x[0], x[stride], … (at most 64) that is not zero.
HWY_INLINE uint64_t nonzero_bits(const uint8_t* x, int64_t stride, int64_t count) {
  if (stride == 0) return *x != 0 ? ~uint64_t{0} : 0;
  uint64_t bits = 0;
  int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<uint8_t, 64> d8;
  constexpr auto kBytes = static_cast<int64_t>(hn::MaxLanes(hn::CappedTag<uint8_t, 64>()));
  for (; stride == 1 && j + kBytes <= count; j += kBytes) {
    const auto set = hn::Ne(hn::LoadU(d8, x + j), hn::Zero(d8));
    uint64_t part = 0;
    hn::StoreMaskBits(d8, set, reinterpret_cast<uint8_t*>(&part));
    bits |= part << j;
  }
#endif
  for (; j < count; ++j) bits |= uint64_t{x[j * stride] != 0} << j;
  return bits;
}

// Bits [begin, end) of a word, end <= 64.
HWY_INLINE uint64_t bit_range(int64_t begin, int64_t end) {
  return begin >= end ? 0 : ~uint64_t{0} >> (64 - (end - begin)) << begin;
}

// Fills view.words and narrows the runs to the keys that some query of each column may see.
inline HWY_NOINLINE void mask_panel(const AttentionHead& h, const QueryColumn* q, int64_t columns,
                                    int64_t block, int64_t block_end, PanelView& view) {
  int32_t tile_words = -1;
  if (h.tile_rows != nullptr) {
    const AttentionTile* tile = tile_from(h, q[0].row, block);
    const bool live =
        tile != h.tiles + h.tile_rows[q[0].row / kTileQueries + 1] && tile->key_block == block / kKeyBlock;
    if (!live) {
      view.runs = {{{0, 0}, {0, 0}}, {0, 0}, {0, 0}, {0, 0}};
      return;
    }
    tile_words = tile->words;
    if (tile_words < 0 && h.mask == nullptr) return;
  }
  KeyRun run[2] = {view.runs.column[0], view.runs.column[1]};
  uint64_t all[2];
  for (int64_t c = 0; c < columns; ++c) {
    if (run[c].begin == run[c].end) continue;
    uint64_t any = 0;
    all[c] = ~uint64_t{0};
    const uint64_t* words = tile_words < 0
                                ? nullptr
                                : h.tile_words + int64_t{tile_words} * kTileQueries + q[c].row % kTileQueries;
    const uint8_t* mask =
        h.mask == nullptr ? nullptr : h.mask + q[c].row * h.mask_query_stride + block * h.mask_key_stride;
    uint64_t bits = ~uint64_t{0};
    for (int64_t i = 0; i < kLanes; ++i) {
      uint64_t word = ~uint64_t{0};
      if (i < q[c].rows) {
        if (mask != nullptr && (i == 0 || h.mask_query_stride != 0))
          bits = nonzero_bits(mask + i * h.mask_query_stride, h.mask_key_stride, block_end - block);
        word = words == nullptr ? bits : bits & words[i];
        any |= word;
        all[c] &= word;
      }
      view.words[c][i] = word;
    }
    const int64_t first = std::countr_zero(any), last = 64 - std::countl_zero(any);
    run[c].begin = std::max(run[c].begin, first / kTileRows * kTileRows);
    run[c].end = std::min(run[c].end, round_up(last, kTileRows));
    if (run[c].begin >= run[c].end) run[c] = {0, 0};
  }
  const bool first = run[0].begin < run[0].end, second = run[1].begin < run[1].end;
  if (first && second) {  // both columns take the keys of either: what one does not see weighs 0
    run[0] = run[1] = {std::min(run[0].begin, run[1].begin), std::max(run[0].end, run[1].end)};
    view.runs = {{run[0], run[0]}, {0, 0}, run[0], {0, 0}};
  } else {
    view.runs = {{run[0], run[1]}, run[0], {0, 0}, run[1]};
  }
  for (int64_t c = 0; c < columns; ++c) {
    const uint64_t needed = bit_range(run[c].begin, run[c].end);
    view.hides[c] = needed != 0 && (all[c] & needed) != needed;
  }
}

// What the one or two columns of a panel see of the key block [block, block_end).
HWY_INLINE void view_panel(const AttentionHead& h, const QueryColumn* q, int64_t columns, int64_t block,
                           int64_t block_end, PanelView& view) {
  view.runs = panel_runs(h, q, columns, block, block_end);
  view.hides[0] = view.hides[1] = false;
  if (h.mask != nullptr || h.tile_rows != nullptr) mask_panel(h, q, columns, block, block_end, view);
}

// Sets the scores of keys whose bit is 0 to kMasked.
inline HWY_NOINLINE void hide_column(float* s, int64_t ld, KeyRun run, const uint64_t* words) {
  const F d;
  const I di;
  alignas(64) int32_t halves[2][kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    halves[0][i] = static_cast<int32_t>(static_cast<uint32_t>(words[i]));
    halves[1][i] = static_cast<int32_t>(static_cast<uint32_t>(words[i] >> 32));
  }
  const VI low = hn::Load(di, halves[0]), high = hn::Load(di, halves[1]);
  const V masked = hn::Set(d, kMasked);
  for (int64_t j = run.begin; j < run.end; ++j) {
    const VI bit = hn::Set(di, static_cast<int32_t>(uint32_t{1} << (j % 32)));
    const auto seen = hn::RebindMask(d, hn::TestBit(j < 32 ? low : high, bit));
    hn::Store(hn::IfThenElse(seen, hn::Load(d, s + j * ld), masked), d, s + j * ld);
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
