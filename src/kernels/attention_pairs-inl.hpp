// Products of bf16 pairs, and the packing that they need. A pair is 32 bits: two bf16 numbers of neighbouring
// depth, the first in the low half; a product of pairs adds both of their products in float32. Arrays of
// pairs are float arrays whose bits are pairs: they go through the same loads, broadcasts and transposes as
// float32, and the register tiles of attention_tile-inl.hpp serve both.
#if defined(FOVEA_ATTENTION_PAIRS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef FOVEA_ATTENTION_PAIRS_INL
#undef FOVEA_ATTENTION_PAIRS_INL
#else
#define FOVEA_ATTENTION_PAIRS_INL
#endif

#include <cstring>

#include "fovea/tensor/dtype.hpp"
#include "kernels/attention_pack-inl.hpp"
#include "kernels/attention_tile-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels::HWY_NAMESPACE {

using U32 = hn::ScalableTag<uint32_t>;
using U16 = hn::Rebind<uint16_t, U32>;

inline constexpr int64_t kPairBlock = kKeyBlock / 2;  // pairs of keys in a key block

// The steps. Both halves' products are exact in float32; the upper is added first, then the lower, each
// rounded.
struct SoftwarePairs {
  static HWY_INLINE V step(V a, V b, V acc) {
    const F d;
    const U32 du;
    const auto upper = [du, d](V x) HWY_ATTR {
      return hn::BitCast(d, hn::And(hn::BitCast(du, x), hn::Set(du, 0xFFFF0000u)));
    };
    const auto lower = [du, d](V x)
                           HWY_ATTR { return hn::BitCast(d, hn::ShiftLeft<16>(hn::BitCast(du, x))); };
    return hn::MulAdd(lower(a), lower(b), hn::MulAdd(upper(a), upper(b), acc));
  }
};
#if HWY_TARGET == HWY_AVX3
// The instruction of AVX-512-BF16; subnormal inputs and results count as 0. Assembly, for the rest of the
// file must run without it.
struct InstructionPairs {
  static HWY_INLINE V step(V a, V b, V acc) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc.raw) : "v"(a.raw), "v"(b.raw));
    return acc;
  }
};
#endif

// C[rows][kVectors·kLanes] (+)= A[rows][depth] · B, in register tiles. Every engine of products has this
// face.
template <class Step>
struct RegisterProducts {
  static void begin() {}
  static void end() {}
  template <int kVectors, bool kAccumulate>
  static HWY_INLINE void product(int64_t rows, int64_t depth, const float* a, int64_t lda, const float* b,
                                 int64_t ldb, float* c, int64_t ldc) {
    rows_product<kVectors, kAccumulate, Step>(rows, depth, a, lda, b, ldb, c, ldc);
  }
};

// Two floats to a pair, rounded to nearest with halves away from zero: weights and their gradients have no
// ties worth an even digit, and this takes four operations.
HWY_INLINE V round_to_pairs(V low, V high) {
  const F d;
  const U32 du;
  const auto half = hn::Set(du, 0x8000u);
  const auto l = hn::ShiftRight<16>(hn::Add(hn::BitCast(du, low), half));
  const auto h = hn::And(hn::Add(hn::BitCast(du, high), half), hn::Set(du, 0xFFFF0000u));
  return hn::BitCast(d, hn::Or(l, h));
}

// One vector of floats to bf16 numbers side by side, rounded as above, which will be read as pairs.
HWY_INLINE void round_and_store(V x, float* to) {
  const U32 du;
  const U16 d16;
  const auto shifted = hn::ShiftRight<16>(hn::Add(hn::BitCast(du, x), hn::Set(du, 0x8000u)));
  const auto bits = hn::DemoteTo(d16, hn::BitCast(hn::RebindToSigned<U32>(), shifted));
#if HWY_TARGET == HWY_EMU128 || HWY_TARGET == HWY_SCALAR
  uint16_t halves[kLanes];  // emulated stores are of their type, which must not be another than the loads'
  hn::StoreU(bits, d16, halves);
  std::memcpy(to, halves, sizeof halves);
#else
  hn::StoreU(bits, d16, reinterpret_cast<uint16_t*>(to));
#endif
}

// to[c] = the pair (a[c], b[c]); b null: (a[c], 0).
HWY_INLINE void interleave_rows(const BFloat16* a, const BFloat16* b, int64_t width, float* to) {
  const F d;
  const U32 du;
  const U16 d16;
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    auto pair = hn::PromoteTo(du, hn::LoadU(d16, &a[c].bits));
    if (b != nullptr) pair = hn::Or(pair, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, &b[c].bits))));
    hn::StoreU(hn::BitCast(d, pair), d, to + c);
  }
  for (; c < width; ++c) {
    const uint32_t pair = a[c].bits | (b == nullptr ? 0u : static_cast<uint32_t>(b[c].bits) << 16);
    std::memcpy(to + c, &pair, sizeof pair);
  }
}

// Rows of bf16 as rows of `pairs` pairs side by side, an odd last number with a 0; `rows` of them.
HWY_INLINE void copy_pairs(const BFloat16* x, int64_t stride, int64_t rows, int64_t width, float* to,
                           int64_t ld) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(to + i * ld, x + i * stride, static_cast<size_t>(width) * sizeof(BFloat16));
    if (width % 2 != 0) std::memset(reinterpret_cast<char*>(to + i * ld) + width * 2, 0, sizeof(BFloat16));
  }
}

// to[c·ld + lane] = x[lane·stride + c] for kLanes rows of words, of which `rows` exist; the others give 0.
inline HWY_NOINLINE void transpose_words(const float* x, int64_t stride, int64_t rows, int64_t words,
                                         float* to, int64_t ld) {
  const float* row[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) row[i] = x + std::min(i, rows - 1) * stride;
  int64_t c = 0;
#if HWY_TARGET != HWY_SCALAR
  const F d;
  const auto exist = hn::FirstN(d, static_cast<size_t>(rows));
  for (; c + 4 <= words; c += 4) {
    V v[4] = {load_blocks(row, 0, c), load_blocks(row, 1, c), load_blocks(row, 2, c), load_blocks(row, 3, c)};
    transpose_blocks(v[0], v[1], v[2], v[3]);
    for (int64_t i = 0; i < 4; ++i) hn::StoreU(hn::IfThenElseZero(exist, v[i]), d, to + (c + i) * ld);
  }
#endif
  for (; c < words; ++c) {
    for (int64_t i = 0; i < kLanes; ++i) {
      if (i < rows) {
        std::memcpy(to + c * ld + i, row[i] + c, sizeof(float));
      } else {
        to[c * ld + i] = 0.0f;
      }
    }
  }
}

// Rows to query columns of pairs: to[p·ld + lane] = pair p of row `lane`. `scratch` holds kLanes rows of
// pairs.
HWY_INLINE void pack_pair_column(const BFloat16* x, int64_t stride, int64_t rows, int64_t width,
                                 float* scratch, float* to, int64_t ld) {
  const int64_t pairs = (width + 1) / 2;
  copy_pairs(x, stride, rows, width, scratch, pairs);
  transpose_words(scratch, pairs, rows, pairs, to, ld);
}

// A key block transposed: to[c·kPairBlock + j] = (x[2j][c], x[2j + 1][c]); keys that do not exist give 0.
// `scratch` holds kPairBlock rows of `width` pairs.
inline HWY_NOINLINE void transpose_key_block(const BFloat16* x, int64_t stride, int64_t keys, int64_t width,
                                             float* scratch, float* to) {
  const int64_t pairs = (keys + 1) / 2;
  for (int64_t j = 0; j < pairs; ++j) {
    const BFloat16* row = x + 2 * j * stride;
    interleave_rows(row, 2 * j + 1 < keys ? row + stride : nullptr, width, scratch + j * width);
  }
  for (int64_t j = 0; j < kPairBlock; j += kLanes) {
    if (j < pairs) {
      transpose_words(scratch + j * width, width, std::min(kLanes, pairs - j), width, to + j, kPairBlock);
    } else {
      const F d;
      for (int64_t c = 0; c < width; ++c) hn::StoreU(hn::Zero(d), d, to + c * kPairBlock + j);
    }
  }
}

}  // namespace fovea::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
