// Sums over the weights of a tile, after the softmax and before dropout: how many keys share a query's
// attention, how far they lie, what falls on the first key, on near keys, on named sets, on blocks of keys.
// Each is a pass over a column that lies in the first-level cache.
#if defined(FOVEA_ATTENTION_WEIGH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_WEIGH_INL
#undef FOVEA_ATTENTION_WEIGH_INL
#else
#define FOVEA_ATTENTION_WEIGH_INL
#endif

#include "kernels/attention_mask-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// The sums of one panel, in units of 2^max of its running maximum.
class WeightObserver {
 public:
  WeightObserver() = default;
  WeightObserver(const AttentionWeightSums& wanted, const AttentionHead& h, float* memory)
      : wanted_(wanted), any_(wanted.any()), key_blocks_((h.k_length + kKeyBlock - 1) / kKeyBlock) {
    if (!any_) return;
    zero_floats(memory, floats(wanted, h.k_length));
    total_ = memory;
    squares_ = total_ + kPanel;
    distance_ = squares_ + kPanel;
    first_ = distance_ + kPanel;
    near_ = first_ + kPanel;
    sets_ = near_ + kPanel;
    blocks_ = sets_ + wanted.set_count * kPanel;
    block_max_ = blocks_ + key_blocks_ * kPanel;
  }
  static int64_t floats(const AttentionWeightSums& wanted, int64_t keys) {
    if (!wanted.any()) return 0;
    const int64_t blocks = wanted.blocks == nullptr ? 0 : 2 * ((keys + kKeyBlock - 1) / kKeyBlock);
    return kPanel * (5 + wanted.set_count + blocks);
  }
  bool any() const { return any_; }

  // The weights p of column c (p[j·kPanel]) in units of 2^max, former sums being worth `alpha` times as much.
  HWY_NOINLINE void see(const float* p, KeyRun run, const AttentionHead& h, QueryColumn q, int64_t block,
                        int64_t c, const float* alpha, const float* max) {
    const F d;
    const int64_t at = c * kLanes;
    const V factor = hn::Load(d, alpha);
    const V total = see_total(p, run);
    add(total_ + at, factor, total);
    if (wanted_.effective != nullptr) see_squares(p, run, factor, squares_ + at);
    if (wanted_.first != nullptr)
      add(first_ + at, factor, block == 0 && run.begin == 0 ? hn::Load(d, p) : hn::Zero(d));
    if (wanted_.distance != nullptr || wanted_.near != nullptr)
      see_distances(p, run, h, q, block, at, factor);
    if (wanted_.set_mass != nullptr) see_sets(p, run, block, at, factor);
    if (wanted_.blocks != nullptr) {
      hn::Store(total, d, blocks_ + block / kKeyBlock * kPanel + at);
      hn::Store(hn::Load(d, max), d, block_max_ + block / kKeyBlock * kPanel + at);
    }
  }

  // Writes the sums of column c as weights; `sum` is that of the softmax.
  void finish(int64_t stride, QueryColumn q, int64_t c, const float* sum) const {
    for (int64_t i = 0; i < q.rows; ++i) {
      const int64_t lane = c * kLanes + i, to = (q.row + i) * stride;
      const bool empty = total_[lane] == 0.0f;
      const float unit = empty ? 0.0f : 1.0f / sum[i];
      if (wanted_.effective != nullptr) wanted_.effective[to] = effective_keys(total_[lane], squares_[lane]);
      if (wanted_.distance != nullptr) wanted_.distance[to] = distance_[lane] * unit;
      if (wanted_.first != nullptr) wanted_.first[to] = first_[lane] * unit;
      if (wanted_.near != nullptr) wanted_.near[to] = near_[lane] * unit;
      for (int64_t n = 0; n < wanted_.set_count; ++n)
        wanted_.set_mass[to * wanted_.set_count + n] = sets_[n * kPanel + lane] * unit;
    }
  }

  // Adds column c to its row of the map; `max` and `sum` are those of the softmax. Once a column.
  HWY_NOINLINE void finish_blocks(int64_t stride, QueryColumn q, int64_t c, const float* max,
                                  const float* sum) const {
    if (!any_ || wanted_.blocks == nullptr) return;
    const F d;
    const auto exist = hn::FirstN(d, static_cast<size_t>(q.rows));
    const V final_max = hn::Load(d, max), final_sum = hn::Load(d, sum);
    const V unit = hn::IfThenElseZero(hn::And(exist, hn::Ne(final_sum, hn::Zero(d))),
                                      hn::Div(hn::Set(d, 1.0f), final_sum));
    for (int64_t b = 0; b < key_blocks_; ++b) {
      const V mass = hn::Load(d, blocks_ + b * kPanel + c * kLanes);
      const V then = hn::Load(d, block_max_ + b * kPanel + c * kLanes);
      const V worth = hn::Mul(exp2_of(hn::Sub(then, final_max)), unit);
      const V seen = hn::IfThenElseZero(hn::And(exist, hn::Ne(mass, hn::Zero(d))), hn::Mul(mass, worth));
      wanted_.blocks[(q.row / kTileQueries * key_blocks_ + b) * stride] +=
          hn::GetLane(hn::SumOfLanes(d, seen));
    }
  }

 private:
  static void add(float* to, V factor, V part) {
    const F d;
    hn::Store(hn::MulAdd(hn::Load(d, to), factor, part), d, to);
  }

  static V see_total(const float* p, KeyRun run) {
    const F d;
    V a = hn::Zero(d), b = a;
    int64_t j = run.begin;
    for (; j + 2 <= run.end; j += 2) {
      a = hn::Add(a, hn::Load(d, p + j * kPanel));
      b = hn::Add(b, hn::Load(d, p + (j + 1) * kPanel));
    }
    if (j < run.end) a = hn::Add(a, hn::Load(d, p + j * kPanel));
    return hn::Add(a, b);
  }

  // Where a sink takes nearly all, weights are as small as 2^-100, and their squares would vanish: they are
  // squared in units of 2^-50. 2^27 keys of weight 1 make 2^127.
  static constexpr float kSquareUnit = 0x1p50f, kLeastTotal = 0x1p-100f;
  static float effective_keys(float total, float squares) {
    if (total < kLeastTotal) return 0.0f;
    const float scaled = total * kSquareUnit;
    return scaled / squares * scaled;
  }

  static void see_squares(const float* p, KeyRun run, V factor, float* to) {
    const F d;
    const V unit = hn::Set(d, kSquareUnit);
    V a = hn::Zero(d), b = a;
    int64_t j = run.begin;
    for (; j + 2 <= run.end; j += 2) {
      const V x = hn::Mul(unit, hn::Load(d, p + j * kPanel));
      const V y = hn::Mul(unit, hn::Load(d, p + (j + 1) * kPanel));
      a = hn::MulAdd(x, x, a);
      b = hn::MulAdd(y, y, b);
    }
    if (j < run.end) {
      const V x = hn::Mul(unit, hn::Load(d, p + j * kPanel));
      a = hn::MulAdd(x, x, a);
    }
    add(to, hn::Mul(factor, factor), hn::Add(a, b));
  }

  void see_distances(const float* p, KeyRun run, const AttentionHead& h, QueryColumn q, int64_t block,
                     int64_t at, V factor) {
    const F d;
    // i' − j, exact up to 2^24.
    const V position = hn::Iota(d, static_cast<float>(q.row + h.k_length - h.q_length - block));
    const V left = hn::Set(d, static_cast<float>(wanted_.near_left));
    const V right = hn::Set(d, -static_cast<float>(wanted_.near_right));
    V far = hn::Zero(d), near = far;
    for (int64_t j = run.begin; j < run.end; ++j) {
      const V weight = hn::Load(d, p + j * kPanel);
      const V e = hn::Sub(position, hn::Set(d, static_cast<float>(j)));
      far = hn::MulAdd(weight, hn::Abs(e), far);
      near = hn::Add(near, hn::IfThenElseZero(hn::And(hn::Le(e, left), hn::Ge(e, right)), weight));
    }
    add(distance_ + at, factor, far);
    add(near_ + at, factor, near);
  }

  void see_sets(const float* p, KeyRun run, int64_t block, int64_t at, V factor) {
    const F d;
    for (int64_t n = 0; n < wanted_.set_count; ++n) add(sets_ + n * kPanel + at, factor, hn::Zero(d));
    for (int64_t j = run.begin; j < run.end; ++j) {
      const int32_t set = wanted_.sets[block + j];
      if (set < 0) continue;
      float* to = sets_ + set * kPanel + at;
      hn::Store(hn::Add(hn::Load(d, to), hn::Load(d, p + j * kPanel)), d, to);
    }
  }

  AttentionWeightSums wanted_;
  bool any_ = false;
  int64_t key_blocks_ = 0;
  float *total_ = nullptr, *squares_ = nullptr, *distance_ = nullptr, *first_ = nullptr, *near_ = nullptr;
  float* sets_ = nullptr;                           // [set_count][kPanel]
  float *blocks_ = nullptr, *block_max_ = nullptr;  // [key blocks][kPanel]: sums, and the maximum then
};

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
