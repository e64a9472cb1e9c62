// Tiles of cached keys of which a row sees only a part, and whose values are not finite: 0·NaN must not reach
// the rows that do not see them.
#if defined(FOVEA_ATTENTION_DECODE_SEEN_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_DECODE_SEEN_INL
#undef FOVEA_ATTENTION_DECODE_SEEN_INL
#else
#define FOVEA_ATTENTION_DECODE_SEEN_INL
#endif

#include "kernels/attention_decode.hpp"
#include "kernels/attention_decode_tiles-inl.hpp"
#include "kernels/attention_decode_widen-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

// Whether the tile's values, and their scales, are finite.
template <class T>
HWY_NOINLINE bool finite_values(const DecodeTile<T>& tile, int64_t width) {
  const F d;
  const V zero = hn::Zero(d);
  V poison = zero;  // 0·x is NaN for what is not finite
  float scales = 0.0f;
  for (int64_t j = 0; j < tile.keys; ++j) {
    for (int64_t c = 0; c < width; c += kLanes)
      poison = hn::MulAdd(widen(tile.v + j * tile.v_stride + c), zero, poison);
    if (tile.v_scale != nullptr) scales += 0.0f * tile.v_scale[j];
  }
  return hn::AllTrue(d, hn::Eq(hn::Add(poison, hn::Set(d, scales)), zero));
}

// Whether the values of a tile must be added key by key for the rows [r, r + rows).
template <class T>
HWY_INLINE bool needs_seen_values(const DecodeTask& t, int64_t r, int64_t rows, const DecodeTile<T>& tile) {
  bool partial = false;
  for (int64_t i = r; i < r + rows; ++i)
    partial = partial || t.first[i] > tile.begin || t.end[i] < tile.begin + tile.keys;
  return partial && !finite_values(tile, t.value_width);
}

// out += Σ_j weight(j)·v_j over the keys of the tile that row r sees.
template <class T, class Weight>
HWY_INLINE void add_seen_values(const DecodeTask& t, int64_t r, const DecodeTile<T>& tile, Weight weight) {
  const F d;
  float* out = t.state.out + r * t.value_width;
  const int64_t end = std::min(t.end[r] - tile.begin, tile.keys);
  for (int64_t j = std::max<int64_t>(t.first[r] - tile.begin, 0); j < end; ++j) {
    const V w = hn::Set(d, weight(j));
    for (int64_t c = 0; c < t.value_width; c += kLanes)
      hn::StoreU(hn::MulAdd(w, widen(tile.v + j * tile.v_stride + c), hn::LoadU(d, out + c)), d, out + c);
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
