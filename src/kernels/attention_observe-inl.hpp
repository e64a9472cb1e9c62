// Looks at a tile of scores before the softmax: the strongest key and the top k of each query.
#if defined(FOVEA_ATTENTION_OBSERVE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_OBSERVE_INL
#undef FOVEA_ATTENTION_OBSERVE_INL
#else
#define FOVEA_ATTENTION_OBSERVE_INL
#endif

#include <hwy/contrib/math/math-inl.h>

#include <cmath>
#include <cstring>

#include "kernels/attention_long_lists-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// The largest of the scores s[j·kPanel] of a run, not empty, in each lane; with a NaN among them, any number.
HWY_INLINE V highest_of(const float* s, KeyRun run) {
  const F d;
  V m0 = hn::Load(d, s + run.begin * kPanel), m1 = m0, m2 = m0, m3 = m0;
  int64_t j = run.begin;
  for (; j + 4 <= run.end; j += 4) {
    m0 = hn::Max(m0, hn::Load(d, s + j * kPanel));
    m1 = hn::Max(m1, hn::Load(d, s + (j + 1) * kPanel));
    m2 = hn::Max(m2, hn::Load(d, s + (j + 2) * kPanel));
    m3 = hn::Max(m3, hn::Load(d, s + (j + 3) * kPanel));
  }
  for (; j < run.end; ++j) m0 = hn::Max(m0, hn::Load(d, s + j * kPanel));
  return hn::Max(hn::Max(m0, m1), hn::Max(m2, m3));
}

// The observers of one panel. Keys come in ascending order, so a strict comparison gives ties to the lower
// index.
class RowObserver {
 public:
  RowObserver() = default;
  // Of queries on `keys` keys.
  RowObserver(const AttentionStatistics& wanted, int64_t keys, float* memory)
      : any_(wanted.any()),
        keys_wanted_(wanted.max_weight != nullptr || wanted.top_k > 0),
        top_k_(std::min(wanted.top_k, keys)),
        max_(memory),
        key_(memory + kPanel),
        scores_(memory + 2 * kPanel),
        keys_(memory + (2 + top_k_) * kPanel) {
    if (!any_) return;
    std::fill(max_, max_ + kPanel, kFloor);
    std::fill(key_, key_ + kPanel, -1.0f);
    if (is_long()) {
      long_ = LongLists(scores_, top_k_);
      return;
    }
    std::fill(scores_, scores_ + top_k_ * kPanel, kFloor);
    std::fill(keys_, keys_ + top_k_ * kPanel, -1.0f);
  }
  // More for a larger top_k, and for more keys.
  static int64_t floats(int64_t top_k, int64_t keys) {
    const int64_t kept = std::min(top_k, keys);
    return 2 * kPanel + (kept > kInserted ? LongLists::floats(kept) : 2 * kept * kPanel);
  }
  bool any() const { return any_; }

  // Scores of column c (s[j·kPanel]) for the keys of the run, not empty; key 0 of the tile is `block`. A tile
  // without a new maximum or a new candidate costs one look at its maxima, which are left in `highest` and
  // true is returned, unless no keys are wanted.
  HWY_NOINLINE bool see(const float* s, KeyRun run, int64_t block, int64_t c, float* highest_out = nullptr) {
    const F d;
    if (!keys_wanted_) return false;
    const V highest = highest_of(s, run);
    if (highest_out != nullptr) hn::Store(highest, d, highest_out);
    if (!hn::AllFalse(d, hn::Gt(highest, hn::Load(d, max_ + c * kLanes)))) see_max(s, run, block, c);
    if (top_k_ == 0) return true;
    const float* least = is_long() ? long_.least(c) : scores_ + (top_k_ - 1) * kPanel + c * kLanes;
    if (hn::AllFalse(d, hn::Gt(highest, hn::Load(d, least)))) return true;
    if (is_long()) {
      long_.see(s, run, block, c);
    } else {
      see_top(s, run, block, c);
    }
    return true;
  }

  // Writes the statistics of column c; max, sum and slope are the softmax state of its lanes.
  void finish(const AttentionStatistics& to, int64_t stride, int64_t row, int64_t rows, int64_t c,
              const float* max, const float* sum, const float* slope) const {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t lane = c * kLanes + i, at = (row + i) * stride;
      const bool empty = sum[i] == 0.0f;
      if (to.entropy != nullptr)
        to.entropy[at] = empty ? 0.0f : std::max(0.0f, std::log(sum[i]) - kLn2 * slope[i] / sum[i]);
      if (to.max_weight != nullptr) {
        const bool none = max_[lane] == kFloor;
        to.max_weight[at] = none ? 0.0f : std::exp2(max_[lane] - max[i]) / sum[i];
        to.max_key[at] = none ? -1 : key_index(key_[lane]);
      }
      if (to.top_k > 0) finish_top(to, at, lane, max[i], sum[i]);
    }
  }

 private:
  // Longer lists are not kept in order key by key. Insertion moves whole vectors, so that it wins as long as
  // what it moves lies in the first-level cache (AVX-512: 64 places of 128 bytes a column).
  static constexpr int64_t kInserted = 64;

  bool is_long() const { return top_k_ > kInserted; }

  // The list of a lane, at row `at`; behind its end no key, of weight 0.
  void finish_top(const AttentionStatistics& to, int64_t at, int64_t lane, float max, float sum) const {
    int64_t* keys = to.top_keys + at * to.top_k;
    float* weights = to.top_weights + at * to.top_k;
    int64_t count = 0;
    const auto put = [&](float score, int64_t key) {
      weights[count] = std::exp2(score - max) / sum;
      keys[count++] = key;
    };
    if (is_long()) {
      int64_t found = 0;
      const uint64_t* list = long_.sorted(lane, &found);
      for (int64_t n = 0; n < found; ++n) put(strength_score(list[n]), strength_key(list[n]));
    } else {
      for (int64_t n = 0; n < top_k_ && scores_[n * kPanel + lane] != kFloor; ++n)
        put(scores_[n * kPanel + lane], key_index(keys_[n * kPanel + lane]));
    }
    std::fill(keys + count, keys + to.top_k, int64_t{-1});
    std::fill(weights + count, weights + to.top_k, 0.0f);
  }

  static int64_t key_index(float bits) {
    int32_t key;
    std::memcpy(&key, &bits, sizeof key);
    return key;
  }

  void see_max(const float* s, KeyRun run, int64_t block, int64_t c) {
    const F d;
    const I di;
    V max = hn::Load(d, max_ + c * kLanes);
    VI key = hn::BitCast(di, hn::Load(d, key_ + c * kLanes));
    for (int64_t j = run.begin; j < run.end; ++j) {
      const V x = hn::Load(d, s + j * kPanel);
      const auto above = hn::RebindMask(di, hn::Gt(x, max));
      key = hn::IfThenElse(above, hn::Set(di, static_cast<int32_t>(block + j)), key);
      max = hn::Max(max, x);  // not a blend: the shorter chain from key to key
    }
    hn::Store(max, d, max_ + c * kLanes);
    hn::Store(hn::BitCast(d, key), d, key_ + c * kLanes);
  }

  // Lists the keys that are above some query's weakest kept score first, without a branch that could be
  // predicted wrongly, then inserts them; those whose query has since kept stronger ones change nothing.
  HWY_NOINLINE void see_top(const float* s, KeyRun run, int64_t block, int64_t c) {
    const F d;
    const V least = hn::Load(d, scores_ + (top_k_ - 1) * kPanel + c * kLanes);
    int64_t found[kKeyBlock];
    int64_t count = 0;
    for (int64_t j = run.begin; j < run.end; ++j) {
      found[count] = j;
      count += hn::AllFalse(d, hn::Gt(hn::Load(d, s + j * kPanel), least)) ? 0 : 1;
    }
#if !FOVEA_ATTENTION_SHORT_TILES
    if (top_k_ <= kInRegisters) return insert_all(s, found, count, block, c);
#endif
    for (int64_t n = 0; n < count; ++n)
      insert(hn::Load(d, s + found[n] * kPanel), static_cast<int32_t>(block + found[n]), c);
  }

#if !FOVEA_ATTENTION_SHORT_TILES
  // Short lists stay in registers for a whole tile: as insert, at half the cost. Places above a list of less
  // than kInRegisters hold what nothing is above of.
  HWY_NOINLINE void insert_all(const float* s, const int64_t* found, int64_t count, int64_t block,
                               int64_t c) {
    const F d;
    const int64_t unused = kInRegisters - top_k_;
    float* scores = scores_ + c * kLanes;
    float* keys = keys_ + c * kLanes;
    V best[kInRegisters], key[kInRegisters];
    FOVEA_UNROLL
    for (int64_t n = 0; n < kInRegisters; ++n) {
      best[n] = n < unused ? hn::Set(d, HUGE_VALF) : hn::Load(d, scores + (n - unused) * kPanel);
      key[n] = n < unused ? hn::Zero(d) : hn::Load(d, keys + (n - unused) * kPanel);
    }
    for (int64_t i = 0; i < count; ++i) {
      const V score = hn::Load(d, s + found[i] * kPanel);
      const V index = hn::BitCast(d, hn::Set(I(), static_cast<int32_t>(block + found[i])));
      auto above = hn::Gt(score, best[kInRegisters - 1]);
      FOVEA_UNROLL
      for (int64_t n = kInRegisters - 1; n > 0; --n) {
        const auto above_next = hn::Gt(score, best[n - 1]);
        best[n] = hn::IfThenElse(above, hn::IfThenElse(above_next, best[n - 1], score), best[n]);
        key[n] = hn::IfThenElse(above, hn::IfThenElse(above_next, key[n - 1], index), key[n]);
        above = above_next;
      }
      best[0] = hn::IfThenElse(above, score, best[0]);
      key[0] = hn::IfThenElse(above, index, key[0]);
    }
    FOVEA_UNROLL
    for (int64_t n = 0; n < kInRegisters; ++n) {
      if (n < unused) continue;
      hn::Store(best[n], d, scores + (n - unused) * kPanel);
      hn::Store(key[n], d, keys + (n - unused) * kPanel);
    }
  }
#endif

  // Inserts a key into the descending lists of all queries of a column at once: where it belongs, the rest
  // moves down. Each place depends on itself and the one above alone.
  HWY_INLINE void insert(V score, int32_t index, int64_t c) {
    const F d;
    const V key = hn::BitCast(d, hn::Set(I(), index));
    float* scores = scores_ + c * kLanes;
    float* keys = keys_ + c * kLanes;
    V old_score = hn::Load(d, scores + (top_k_ - 1) * kPanel);
    auto above = hn::Gt(score, old_score);
    for (int64_t n = top_k_ - 1; n > 0; --n) {
      const V next_score = hn::Load(d, scores + (n - 1) * kPanel),
              next_key = hn::Load(d, keys + (n - 1) * kPanel);
      const auto above_next = hn::Gt(score, next_score);
      hn::Store(hn::IfThenElse(above, hn::IfThenElse(above_next, next_score, score), old_score), d,
                scores + n * kPanel);
      hn::Store(
          hn::IfThenElse(above, hn::IfThenElse(above_next, next_key, key), hn::Load(d, keys + n * kPanel)), d,
          keys + n * kPanel);
      old_score = next_score;
      above = above_next;
    }
    hn::Store(hn::IfThenElse(above, score, old_score), d, scores);
    hn::Store(hn::IfThenElse(above, key, hn::Load(d, keys)), d, keys);
  }

  static constexpr int64_t kInRegisters = 8;

  bool any_ = false, keys_wanted_ = false;
  int64_t top_k_ = 0;
  float* max_ = nullptr;     // [kPanel] the largest score of a key
  float* key_ = nullptr;     // [kPanel] its index, as int32 bits
  float* scores_ = nullptr;  // [top_k][kPanel], descending; of short lists
  float* keys_ = nullptr;    // [top_k][kPanel], as int32 bits
  LongLists long_;
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
