// Rows to columns of a panel and back: transposes in registers, and the packing made of them.
#if defined(FOVEA_ATTENTION_PACK_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_PACK_INL
#undef FOVEA_ATTENTION_PACK_INL
#else
#define FOVEA_ATTENTION_PACK_INL
#endif

#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
// Vectors of four floats of rows block, so that 128-bit block b of result j is row 4b + j.
HWY_INLINE V load_blocks(const float* const* rows, int64_t j, int64_t column) {
  const hn::FixedTag<float, 4> d4;
#if HWY_TARGET == HWY_AVX3
  const hn::FixedTag<float, 8> d8;
  const F d;
  const auto low = hn::Combine(d8, hn::LoadU(d4, rows[4 + j] + column), hn::LoadU(d4, rows[j] + column));
  const auto high =
      hn::Combine(d8, hn::LoadU(d4, rows[12 + j] + column), hn::LoadU(d4, rows[8 + j] + column));
  return hn::Combine(d, high, low);
#elif HWY_TARGET == HWY_AVX2
  const F d;
  return hn::Combine(d, hn::LoadU(d4, rows[4 + j] + column), hn::LoadU(d4, rows[j] + column));
#else
  return hn::LoadU(d4, rows[j] + column);
#endif
}

// The reverse: block b of vector j goes to row 4b + j of x.
HWY_INLINE void store_blocks(V v, float* x, int64_t stride, int64_t j) {
  const hn::FixedTag<float, 4> d4;
  x += j * stride;
#if HWY_TARGET == HWY_AVX3
  const hn::FixedTag<float, 8> d8;
  const auto low = hn::LowerHalf(d8, v);
  const auto high = hn::UpperHalf(d8, v);
  hn::StoreU(hn::LowerHalf(d4, low), d4, x);
  hn::StoreU(hn::UpperHalf(d4, low), d4, x + 4 * stride);
  hn::StoreU(hn::LowerHalf(d4, high), d4, x + 8 * stride);
  hn::StoreU(hn::UpperHalf(d4, high), d4, x + 12 * stride);
#elif HWY_TARGET == HWY_AVX2
  hn::StoreU(hn::LowerHalf(d4, v), d4, x);
  hn::StoreU(hn::UpperHalf(d4, v), d4, x + 4 * stride);
#else
  static_cast<void>(stride);
  hn::StoreU(v, d4, x);
#endif
}

// Transposes 4 × 4 within each 128-bit block.
HWY_INLINE void transpose_blocks(V& a, V& b, V& c, V& e) {
  const F d;
  const hn::Repartition<double, F> d2;
  const auto t0 = hn::BitCast(d2, hn::InterleaveLower(d, a, b));
  const auto t1 = hn::BitCast(d2, hn::InterleaveLower(d, c, e));
  const auto t2 = hn::BitCast(d2, hn::InterleaveUpper(d, a, b));
  const auto t3 = hn::BitCast(d2, hn::InterleaveUpper(d, c, e));
  a = hn::BitCast(d, hn::InterleaveLower(d2, t0, t1));
  b = hn::BitCast(d, hn::InterleaveUpper(d2, t0, t1));
  c = hn::BitCast(d, hn::InterleaveLower(d2, t2, t3));
  e = hn::BitCast(d, hn::InterleaveUpper(d2, t2, t3));
}

// Transposes kLanes rows of kLanes floats: v[i], lane j becomes v[j], lane i.
HWY_INLINE void transpose_square(V (&v)[kLanes]) {
  FOVEA_UNROLL
  for (int g = 0; g < kLanes; g += 4) transpose_blocks(v[g], v[g + 1], v[g + 2], v[g + 3]);
    // v[4g + j] now holds, in block b, column 4b + j of rows 4g … 4g + 3.
#if HWY_TARGET == HWY_AVX3
  FOVEA_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m512 a = v[j].raw, b = v[4 + j].raw, c = v[8 + j].raw, e = v[12 + j].raw;
    const __m512 ab_low = _mm512_shuffle_f32x4(a, b, 0x44), ab_high = _mm512_shuffle_f32x4(a, b, 0xEE);
    const __m512 ce_low = _mm512_shuffle_f32x4(c, e, 0x44), ce_high = _mm512_shuffle_f32x4(c, e, 0xEE);
    v[j] = V{_mm512_shuffle_f32x4(ab_low, ce_low, 0x88)};
    v[4 + j] = V{_mm512_shuffle_f32x4(ab_low, ce_low, 0xDD)};
    v[8 + j] = V{_mm512_shuffle_f32x4(ab_high, ce_high, 0x88)};
    v[12 + j] = V{_mm512_shuffle_f32x4(ab_high, ce_high, 0xDD)};
  }
#elif HWY_TARGET == HWY_AVX2
  const F d;
  FOVEA_UNROLL
  for (int j = 0; j < 4; ++j) {
    const V low = hn::ConcatLowerLower(d, v[4 + j], v[j]);
    v[4 + j] = hn::ConcatUpperUpper(d, v[4 + j], v[j]);
    v[j] = low;
  }
#endif
}
#endif

// packed[c·kPanel + lane] = scale · x[lane·stride + c] for kLanes rows, of which `rows` exist; the others
// give 0.
inline HWY_NOINLINE void pack_column(const float* x, int64_t stride, int64_t rows, int64_t width, float scale,
                                     float* packed) {
  const F d;
  [[maybe_unused]] const V factor = hn::Set(d, scale);
  const float* row[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) row[i] = x + std::min(i, rows - 1) * stride;
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  const auto exist = hn::FirstN(d, static_cast<size_t>(rows));
  for (; c + kLanes <= width;
       c += kLanes) {  // whole vectors of each row, so that its cache lines are read once
    V v[kLanes];
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i) v[i] = hn::LoadU(d, row[i] + c);
    transpose_square(v);
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i)
      hn::Store(hn::IfThenElseZero(exist, hn::Mul(v[i], factor)), d, packed + (c + i) * kPanel);
  }
  for (; c + 4 <= width; c += 4) {
    V v[4] = {load_blocks(row, 0, c), load_blocks(row, 1, c), load_blocks(row, 2, c), load_blocks(row, 3, c)};
    transpose_blocks(v[0], v[1], v[2], v[3]);
    for (int64_t i = 0; i < 4; ++i) {
      hn::Store(hn::IfThenElseZero(exist, hn::Mul(v[i], factor)), d, packed + (c + i) * kPanel);
    }
  }
#endif
  for (; c < width; ++c) {
    for (int64_t i = 0; i < kLanes; ++i) packed[c * kPanel + i] = i < rows ? scale * row[i][c] : 0.0f;
  }
}

// x[lane·stride + c] (+)= factor[lane] · packed[c·kLd + lane] for the first `rows` lanes. Returns whether
// all of factor·packed is finite (0·x is NaN for the others).
template <bool kAdd, int64_t kLd = kPanel>
inline HWY_NOINLINE bool unpack_column(const float* packed, V factor, int64_t rows, int64_t width, float* x,
                                       int64_t stride) {
  const F d;
  const V zero = hn::Zero(d);
  V poison = zero;
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  for (; c + kLanes <= width; c += kLanes) {
    V v[kLanes];
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i) {
      v[i] = hn::Mul(hn::Load(d, packed + (c + i) * kLd), factor);
      poison = hn::MulAdd(v[i], zero, poison);
    }
    transpose_square(v);
    FOVEA_UNROLL
    for (int64_t i = 0; i < kLanes; ++i) {
      float* to = x + i * stride + c;
      if (i < rows) hn::StoreU(kAdd ? hn::Add(hn::LoadU(d, to), v[i]) : v[i], d, to);
    }
  }
  alignas(64) float block[4 * kLanes];  // four columns, as rows
  const hn::FixedTag<float, 4> d4;
  for (; c + 4 <= width; c += 4) {
    V v[4];
    for (int64_t i = 0; i < 4; ++i) {
      v[i] = hn::Mul(hn::Load(d, packed + (c + i) * kLd), factor);
      poison = hn::MulAdd(v[i], zero, poison);
    }
    transpose_blocks(v[0], v[1], v[2], v[3]);
    if (!kAdd && rows == kLanes) {
      for (int64_t j = 0; j < 4; ++j) store_blocks(v[j], x + c, stride, j);
      continue;
    }
    for (int64_t j = 0; j < 4; ++j) hn::Store(v[j], d, block + j * kLanes);
    for (int64_t i = 0; i < rows; ++i) {
      auto row = hn::Load(d4, block + i % 4 * kLanes + i / 4 * 4);
      if (kAdd) row = hn::Add(hn::LoadU(d4, x + i * stride + c), row);
      hn::StoreU(row, d4, x + i * stride + c);
    }
  }
#endif
  alignas(64) float lanes[kLanes] = {};
  for (; c < width; ++c) {
    const V v = hn::Mul(hn::Load(d, packed + c * kLd), factor);
    poison = hn::MulAdd(v, zero, poison);
    hn::Store(v, d, lanes);
    for (int64_t i = 0; i < rows; ++i) {
      float& element = x[i * stride + c];
      element = kAdd ? element + lanes[i] : lanes[i];
    }
  }
  return hn::AllTrue(d, hn::Eq(poison, zero));
}

// Rows to a contiguous (ld = padded) place, the padding zeroed.
HWY_INLINE void copy_rows(const float* x, int64_t stride, int64_t rows, int64_t width, float* to,
                          int64_t ld) {
  const F d;
  for (int64_t i = 0; i < rows; ++i) {
    const float* HWY_RESTRICT from = x + i * stride;
    float* HWY_RESTRICT row = to + i * ld;
    int64_t c = 0;
    for (; c + kLanes <= width; c += kLanes) hn::StoreU(hn::LoadU(d, from + c), d, row + c);
    for (; c < width; ++c) row[c] = from[c];
    for (; c < ld; ++c) row[c] = 0.0f;
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
