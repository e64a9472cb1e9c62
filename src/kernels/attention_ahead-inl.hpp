// Rows that will be read soon, fetched while others are computed with. Many short sequences lie beyond the
// second-level cache, where register tiles that walk eight rows side by side keep too few reads under way:
// without fetching ahead, 32 × 8 heads of 64 tokens spend half of forward waiting.
#if defined(FOVEA_ATTENTION_AHEAD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_AHEAD_INL
#undef FOVEA_ATTENTION_AHEAD_INL
#else
#define FOVEA_ATTENTION_AHEAD_INL
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// A list of rows and how far it has been fetched. Fetching touches no value, so what is listed decides no
// result; rows that nobody reads in the end cost their bandwidth.
class Ahead {
 public:
  // Starts anew, with nothing listed.
  void clear() { parts_ = at_ = row_ = 0; }

  // `rows` rows of `width` floats; nothing where x is null.
  void add(const float* x, int64_t stride, int64_t rows, int64_t width) {
    if (x == nullptr || rows <= 0 || parts_ == kMost) return;
    part_[parts_++] = {x, stride, rows, width};
  }

  // Fetches everything in about `steps` calls of step().
  void spread(int64_t steps) {
    int64_t lines = 0;
    for (int64_t i = 0; i < parts_; ++i) lines += part_[i].rows * lines_of(part_[i].width);
    lines_a_step_ = (lines + steps - 1) / std::max<int64_t>(1, steps);
  }

  // Fetches what is left, as where masks left out tiles, and starts anew.
  void finish() {
    fetch(INT64_MAX);
    clear();
  }

  HWY_INLINE void step() {
    if (at_ < parts_) fetch(lines_a_step_);
  }

 private:
  struct Part {
    const float* x;
    int64_t stride, rows, width;
  };
  static constexpr int64_t kMost = 8;
  static constexpr int64_t kLine = 16;  // floats of a cache line

  static int64_t lines_of(int64_t width) { return (width + kLine - 1) / kLine; }

  // Into the second-level cache: the first is full of tiles.
  static HWY_INLINE void fetch_line(const float* x) { __builtin_prefetch(x, 0, 3); }

  // At least `lines` lines, in whole rows.
  HWY_NOINLINE void fetch(int64_t lines) {
    while (lines > 0 && at_ < parts_) {
      const Part& part = part_[at_];
      const float* row = part.x + row_ * part.stride;
      for (int64_t c = 0; c < part.width; c += kLine) fetch_line(row + c);
      if (reinterpret_cast<uintptr_t>(row) % 64 != 0) fetch_line(row + part.width - 1);
      lines -= lines_of(part.width);
      if (++row_ == part.rows) {
        row_ = 0;
        ++at_;
      }
    }
  }

  Part part_[kMost];
  int64_t parts_ = 0, at_ = 0, row_ = 0, lines_a_step_ = 0;
};

// Two lists at once.
struct BothAhead {
  Ahead &first, &second;
  HWY_INLINE void step() {
    first.step();
    second.step();
  }
};

// What a product calls after each of its tiles when there is nothing to fetch.
struct NothingAhead {
  HWY_INLINE void step() {}
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
