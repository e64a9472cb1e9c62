// The keys that a decoding task works on at a time, and fetching what follows them.
#if defined(FOVEA_ATTENTION_DECODE_TILES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_DECODE_TILES_INL
#undef FOVEA_ATTENTION_DECODE_TILES_INL
#else
#define FOVEA_ATTENTION_DECODE_TILES_INL
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "kernels/attention_decode.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// Keys of one run, [begin, begin + keys) of the task's.
struct TileKeys {
  int64_t begin = 0, keys = 0;
  const float* k_scale = nullptr;  // null: 1
  const float* v_scale = nullptr;
  int64_t from = 0, bytes = 0;  // of the head's part of the block
};
template <class T>
struct DecodeTile : TileKeys {
  const T* k = nullptr;
  const T* v = nullptr;
  int64_t k_stride = 0, v_stride = 0;
};

template <class T>
HWY_INLINE DecodeTile<T> decode_tile(const DecodeTask& t, int64_t begin) {
  DecodeTile<T> tile;
  tile.begin = begin;
  if (t.head == nullptr) {
    tile.keys = std::min(t.layout.run, t.keys - begin);
    tile.k = reinterpret_cast<const T*>(t.k + begin * t.k_stride);
    tile.v = reinterpret_cast<const T*>(t.v + begin * t.v_stride);
    tile.k_stride = t.k_stride / static_cast<int64_t>(sizeof(T));
    tile.v_stride = t.v_stride / static_cast<int64_t>(sizeof(T));
    return tile;
  }
  const int64_t token = t.first_token + begin;
  const DecodeLayout::Place at = t.layout.place(token);
  tile.k_stride = t.width;
  tile.v_stride = t.value_width;
  tile.keys = std::min(at.end - token, t.keys - begin);
  tile.k = reinterpret_cast<const T*>(t.head + at.k);
  tile.v = reinterpret_cast<const T*>(t.head + at.v);
  if (t.layout.scale_bytes > 0) {
    tile.k_scale = reinterpret_cast<const float*>(t.head + at.k_scale);
    tile.v_scale = reinterpret_cast<const float*>(t.head + at.v_scale);
  }
  tile.from = token / t.layout.run * t.layout.run_bytes(t.layout.run);
  tile.bytes = t.layout.run_bytes(tile.keys);
  return tile;
}

// What lies a distance behind a tile, fetched bit by bit while it is worked on. The processor's own
// prefetching is too timid for a loop that computes between its reads: one row of float32 reads at half of
// the memory's rate without this. Reads that come all at once wait for each other, and the work for them.
class TileAhead {
 public:
  TileAhead(const DecodeTask& t, const TileKeys& tile, int64_t distance) {
    if (t.head == nullptr) {
      add_next_rows(t, tile.begin + tile.keys);
      return;
    }
    const int64_t end = t.layout.head_bytes(), from = tile.from + distance, to = from + tile.bytes;
    if (from < end) add(t.head + from, std::min(to, end) - from);
    if (to > end && t.next != nullptr) {
      const int64_t skipped = std::max<int64_t>(0, from - end);
      add(t.next + skipped, std::min(to - end, end) - skipped);
    }
  }
  // Everything in about `steps` calls of step().
  void spread(int64_t steps) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < parts_; ++i) bytes += part_[i].bytes * part_[i].rows;
    step_ = (bytes / std::max<int64_t>(1, steps) + kLine - 1) / kLine * kLine;
  }
  HWY_INLINE void step() {
    if (at_ < parts_) fetch(step_);
  }
  void finish() {
    while (at_ < parts_) fetch(part_[at_].bytes * part_[at_].rows);
  }

 private:
  static constexpr int64_t kLine = DecodeLayout::kLine;
  struct Part {
    const std::byte* from;
    int64_t bytes, rows, stride;  // of a row, which lies `stride` bytes behind the one before it
  };
  void add(const std::byte* from, int64_t bytes, int64_t rows = 1, int64_t stride = 0) {
    if (bytes > 0 && rows > 0) part_[parts_++] = {from, bytes, rows, stride};
  }
  // Where keys lie at strides, the next tile whole.
  void add_next_rows(const DecodeTask& t, int64_t begin) {
    const int64_t keys = std::min(t.layout.run, t.keys - begin);
    const auto add_rows = [&](const std::byte* from, int64_t stride, int64_t bytes) {
      if (stride == bytes) return add(from + begin * stride, keys * bytes);
      add(from + begin * stride, bytes, keys, stride);
    };
    add_rows(t.k, t.k_stride, t.layout.key_bytes);
    add_rows(t.v, t.v_stride, t.layout.value_bytes);
  }
  HWY_INLINE void fetch(int64_t bytes) {
    while (bytes > 0 && at_ < parts_) {
      const Part& part = part_[at_];
      const std::byte* from = part.from + row_ * part.stride;
      const int64_t end = std::min(done_ + bytes, part.bytes);
      for (int64_t i = done_; i < end; i += kLine) __builtin_prefetch(from + i, 0, 3);
      bytes -= end - done_;
      done_ = end;
      if (done_ < part.bytes) return;
      done_ = 0;
      if (++row_ < part.rows) continue;
      row_ = 0;
      ++at_;
    }
  }
  Part part_[2] = {};
  int64_t parts_ = 0, at_ = 0, row_ = 0, done_ = 0, step_ = 0;
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
