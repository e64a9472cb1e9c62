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
};

template <class T>
HWY_INLINE DecodeTile<T> decode_tile(const DecodeTask& t, int64_t begin) {
  const int64_t token = t.first_token + begin;
  const DecodeLayout::Place at = t.layout.place(token);
  DecodeTile<T> tile;
  tile.begin = begin;
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

// What lies kDistance behind a tile, fetched bit by bit while it is worked on. The processor's own
// prefetching is too timid for a loop that computes between its reads: one row of float32 reads at half of
// the memory's rate without this. Reads that come all at once wait for each other, and the work for them.
class TileAhead {
 public:
  TileAhead(const DecodeTask& t, const TileKeys& tile, int64_t distance) {
    const int64_t end = t.layout.head_bytes(), from = tile.from + distance, to = from + tile.bytes;
    if (from < end) part_[parts_++] = {t.head + from, std::min(to, end) - from};
    if (to > end && t.next != nullptr) {
      const int64_t skipped = std::max<int64_t>(0, from - end);
      part_[parts_++] = {t.next + skipped, std::min(to - end, end) - skipped};
    }
    if (parts_ == 2 && part_[1].bytes <= 0) --parts_;
  }
  // Everything in about `steps` calls of step().
  void spread(int64_t steps) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < parts_; ++i) bytes += part_[i].bytes;
    step_ = (bytes / std::max<int64_t>(1, steps) + kLine - 1) / kLine * kLine;
  }
  HWY_INLINE void step() {
    if (at_ < parts_) fetch(step_);
  }
  void finish() {
    while (at_ < parts_) fetch(part_[at_].bytes);
  }

 private:
  static constexpr int64_t kLine = DecodeLayout::kLine;
  struct Part {
    const std::byte* from;
    int64_t bytes;
  };
  HWY_INLINE void fetch(int64_t bytes) {
    const std::byte* from = part_[at_].from;
    const int64_t all = part_[at_].bytes, end = std::min(done_ + bytes, all);
    for (int64_t i = done_; i < end; i += kLine) __builtin_prefetch(from + i, 0, 3);
    at_ += end == all ? 1 : 0;
    done_ = end == all ? 0 : end;
  }
  Part part_[2] = {};
  int64_t parts_ = 0, at_ = 0, done_ = 0, step_ = 0;
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
