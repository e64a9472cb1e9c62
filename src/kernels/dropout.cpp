#include "fovea/kernels/dropout.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dropout.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

using U32 = hn::RebindToUnsigned<F32>;
using VU = hn::Vec<U32>;

#if HWY_TARGET != HWY_SCALAR
// High and low words of a·b per 32-bit lane, from two products of alternate lanes.
HWY_INLINE void multiply_wide(VU a, uint32_t b, VU& high, VU& low) {
  const U32 d;
  const hn::RepartitionToWide<U32> d64;
  const auto m = hn::Set(d, b);
  const auto even = hn::MulEven(a, m);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, a))), m);
  low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
  high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
}

// Words [4·block, 4·(block + lanes)) of the stream, in order, to out: Philox4x32-10 with one block a lane.
HWY_INLINE void philox_blocks(RandomKey key, uint64_t block, uint32_t* HWY_RESTRICT out) {
  const U32 d;
  const auto low_word = static_cast<uint32_t>(block);
  VU c0 = hn::Add(hn::Set(d, low_word), hn::Iota(d, 0));
  VU c1 = hn::Set(d, static_cast<uint32_t>(block >> 32));
  // A carry into the high word, where the low one wrapped.
  c1 = hn::Add(c1, hn::IfThenElseZero(hn::Lt(c0, hn::Set(d, low_word)), hn::Set(d, 1u)));
  VU c2 = hn::Set(d, static_cast<uint32_t>(key.stream));
  VU c3 = hn::Set(d, static_cast<uint32_t>(key.stream >> 32));
  auto k0 = static_cast<uint32_t>(key.seed);
  auto k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    VU high0, low0, high1, low1;
    multiply_wide(c0, 0xD2511F53u, high0, low0);
    multiply_wide(c2, 0xCD9E8D57u, high1, low1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(d, k0));
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(d, k1));
    c1 = low1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, d, out);
}

#else
HWY_INLINE void philox_blocks(RandomKey key, uint64_t block, uint32_t* HWY_RESTRICT out) {
  const auto words = key.block(block);
  std::memcpy(out, words.data(), sizeof(words));
}
#endif

// Calls body(offset within the piece, words, count) for runs of words of [begin, end); begin is a multiple
// of 4.
template <class Body>
HWY_INLINE void for_words(RandomKey key, int64_t begin, int64_t end, Body&& body) {
  constexpr int64_t kMost = 4 * HWY_MAX_BYTES / static_cast<int64_t>(sizeof(uint32_t));
  HWY_ALIGN uint32_t words[kMost];
  const int64_t step = 4 * lanes();
  for (int64_t i = begin; i < end; i += step) {
    philox_blocks(key, static_cast<uint64_t>(i) / 4, words);
    body(i - begin, words, end - i < step ? end - i : step);
  }
}

// x, residual (null: none) and out point at element `begin`.
void dropout_body(RandomKey key, uint32_t threshold, float keep, int64_t begin, int64_t end, const float* x,
                  const float* residual, float* out) {
  const F32 d;
  const U32 du;
  const VF factor = hn::Set(d, keep);
  const VU least = hn::Set(du, threshold);
  for_words(key, begin, end, [&](int64_t at, const uint32_t* words, int64_t count) HWY_ATTR {
    for_vectors(count, [&](int64_t i, int64_t some) HWY_ATTR {
      const auto kept = hn::RebindMask(d, hn::Not(hn::Lt(hn::Load(du, words + i), least)));
      VF v = hn::IfThenElseZero(kept, hn::Mul(load_some(x + at + i, some), factor));
      if (residual != nullptr) v = hn::Add(v, load_some(residual + at + i, some));
      store_some(v, out + at + i, some);
    });
  });
}

void uniform_body(RandomKey key, float low, float span, int64_t begin, int64_t end, float* out) {
  const F32 d;
  const U32 du;
  const I32 di;
  const VF unit = hn::Set(d, 0x1p-24f), s = hn::Set(d, span), l = hn::Set(d, low);
  for_words(key, begin, end, [&](int64_t at, const uint32_t* words, int64_t count) HWY_ATTR {
    for_vectors(count, [&](int64_t i, int64_t some) HWY_ATTR {
      const VF u =
          hn::Mul(hn::ConvertTo(d, hn::BitCast(di, hn::ShiftRight<8>(hn::Load(du, words + i)))), unit);
      store_some(hn::MulAdd(u, s, l), out + at + i, some);
    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cstring>

#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

namespace {

// A word below this drops its element: p·2^32, so that p = 0.1 drops a tenth to nine digits.
uint32_t drop_below(float p) {
  return static_cast<uint32_t>(static_cast<double>(p) * 0x1p32);
}

}  // namespace

void dropout(int64_t n, float p, RandomKey key, const float* x, float* out) {
  if (p <= 0.0f) {
    if (out != x && n > 0) std::memcpy(out, x, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  auto* body = FOVEA_KERNEL(dropout_body);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    body(key, drop_below(p), 1.0f / (1.0f - p), begin, end, x + begin, nullptr, out + begin);
  });
}

void dropout_add(int64_t n, float p, RandomKey key, const float* x, const float* residual, float* out) {
  auto* body = FOVEA_KERNEL(dropout_body);
  const float keep = p <= 0.0f ? 1.0f : 1.0f / (1.0f - p);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    body(key, p <= 0.0f ? 0u : drop_below(p), keep, begin, end, x + begin, residual + begin, out + begin);
  });
}

void dropout_rows(int64_t rows, int64_t cols, float p, RandomKey key, const float* x, float* out) {
  if (cols <= 0) return;
  const float keep = p <= 0.0f ? 1.0f : 1.0f / (1.0f - p);
  const uint32_t least = p <= 0.0f ? 0u : drop_below(p);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const bool kept = key.block(static_cast<uint64_t>(r) / 4)[static_cast<size_t>(r % 4)] >= least;
      const float* from = x + r * cols;
      float* to = out + r * cols;
      if (kept) {
        for (int64_t c = 0; c < cols; ++c) to[c] = from[c] * keep;
      } else {
        std::memset(to, 0, static_cast<size_t>(cols) * sizeof(float));
      }
    }
  });
}

void random_uniform(int64_t n, RandomKey key, float low, float high, float* out) {
  auto* body = FOVEA_KERNEL(uniform_body);
  parallel_for(n, kGrain,
               [&](int64_t begin, int64_t end) { body(key, low, high - low, begin, end, out + begin); });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
