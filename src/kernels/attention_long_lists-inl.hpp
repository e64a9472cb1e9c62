// The k strongest keys of each query where k is too large to insert key by key.
#if defined(FOVEA_ATTENTION_LONG_LISTS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_LONG_LISTS_INL
#undef FOVEA_ATTENTION_LONG_LISTS_INL
#else
#define FOVEA_ATTENTION_LONG_LISTS_INL
#endif

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "kernels/attention_tile-inl.hpp"
#include "kernels/strongest.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// A buffer of 2k keys a query of a panel. What is above the weakest of the k strongest so far is appended; a
// full buffer is cut to its strongest k, at a cost in proportion to the k keys that have come since the last
// cut. Insertion would move k places for each key instead.
class LongLists {
 public:
  LongLists() = default;
  LongLists(float* memory, int64_t k)
      : k_(k),
        room_(2 * k),
        least_(memory),
        count_(reinterpret_cast<int32_t*>(memory + kPanel)),
        lists_(reinterpret_cast<uint64_t*>(memory + 2 * kPanel)) {
    std::fill(least_, least_ + kPanel, kFloor);
    std::fill(count_, count_ + kPanel, 0);
  }
  static int64_t floats(int64_t k) { return kPanel * (2 + 2 * 2 * k); }

  // What a score of column c must exceed to be of interest, a query a lane.
  const float* least(int64_t c) const { return least_ + c * kLanes; }

  // Scores of column c (s[j·kPanel]) for the keys of the run; key 0 of the tile is `block`.
  HWY_NOINLINE void see(const float* s, KeyRun run, int64_t block, int64_t c) {
    const F d;
    V least = hn::Load(d, least_ + c * kLanes);
    for (int64_t j = run.begin; j < run.end; ++j) {
      const auto above = hn::Gt(hn::Load(d, s + j * kPanel), least);
      if (hn::AllFalse(d, above)) continue;
      bool cut = false;
      for (uint64_t lanes = lanes_of(above); lanes != 0; lanes &= lanes - 1) {
        const auto lane = static_cast<int64_t>(std::countr_zero(lanes));
        cut |= append(c * kLanes + lane, s[j * kPanel + lane], static_cast<int32_t>(block + j));
      }
      if (cut) least = hn::Load(d, least_ + c * kLanes);
    }
  }

  // The list of a lane of the panel, strongest first, and how many there are.
  const uint64_t* sorted(int64_t lane, int64_t* count) const {
    uint64_t* list = lists_ + lane * room_;
    const int64_t held = count_[lane];
    *count = std::min(held, k_);
    if (held > k_) std::nth_element(list, list + k_, list + held);
    std::sort(list, list + *count);
    return list;
  }

 private:
  template <class Mask>
  static HWY_INLINE uint64_t lanes_of(Mask mask) {
    using Bits = std::conditional_t<
        (kLanes > 32), uint64_t,
        std::conditional_t<(kLanes > 16), uint32_t, std::conditional_t<(kLanes > 8), uint16_t, uint8_t>>>;
    uint8_t bytes[8] = {};
    hn::StoreMaskBits(F(), mask, bytes);
    Bits bits;  // as wide as what was stored, so that the processor need not wait for the store
    std::memcpy(&bits, bytes, sizeof bits);
    return bits;
  }

  // Returns whether the lane's least score has risen.
  HWY_INLINE bool append(int64_t lane, float score, int32_t key) {
    uint64_t* list = lists_ + lane * room_;
    int32_t& count = count_[lane];
    const bool full = count == room_;
    if (full) {
      std::nth_element(list, list + k_ - 1, list + room_);
      least_[lane] = strength_score(list[k_ - 1]);
      count = static_cast<int32_t>(k_);
      if (!(score > least_[lane])) return true;
    }
    list[count++] = strength_of(score, key);
    return full;
  }

  int64_t k_ = 0, room_ = 0;
  float* least_ = nullptr;     // [kPanel]
  int32_t* count_ = nullptr;   // [kPanel] keys in a list
  uint64_t* lists_ = nullptr;  // [kPanel][room]
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
