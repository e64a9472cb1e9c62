#include "fovea/kernels/reduce.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

float sum_body(int64_t n, const float* x, const float*) {
  return sum_vectors(n, [x](int64_t i, int64_t count) HWY_ATTR { return load_some(x + i, count); });
}
float dot_body(int64_t n, const float* a, const float* b) {
  return sum_vectors(n, [a, b](int64_t i, int64_t count)
                            HWY_ATTR { return hn::Mul(load_some(a + i, count), load_some(b + i, count)); });
}
// Compared as integers: the bits of |x| order as the numbers do, infinity and NaN above all of them.
uint32_t max_abs_bits_body(int64_t n, const float* x) {
  const hn::RebindToUnsigned<F32> du;
  auto top = hn::Zero(du);
  for_vectors(n, [&](int64_t i, int64_t count)
                     HWY_ATTR { top = hn::Max(top, hn::BitCast(du, hn::Abs(load_some(x + i, count)))); });
  return hn::GetLane(hn::MaxOfLanes(du, top));
}
// The columns [begin, end) of out; rows in runs of 64 whose sums are added up, which keeps the error of long
// columns near that of pairwise summation.
void column_sums_body(int64_t rows, const float* x, int64_t stride, int64_t begin, int64_t end, float* out,
                      bool accumulate) {
  const F32 d;
  for (int64_t c = begin; c < end; c += lanes()) {
    const int64_t count = end - c;
    VF total = accumulate ? load_some(out + c, count) : hn::Zero(d);
    for (int64_t first = 0; first < rows; first += 64) {
      VF run = hn::Zero(d);
      const int64_t last = first + 64 < rows ? first + 64 : rows;
      for (int64_t r = first; r < last; ++r) run = hn::Add(run, load_some(x + r * stride + c, count));
      total = hn::Add(total, run);
    }
    store_some(total, out + c, count);
  }
}

// The same of bf16 numbers, summed in float32; a cache line of them (two vectors of AVX-512) at a time.
void half_column_sums_body(int64_t rows, const BFloat16* x, int64_t stride, int64_t begin, int64_t end,
                           float* out, bool accumulate) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  const hn::Rebind<uint16_t, F32> d16;
  const auto wide = [&](const BFloat16* from) HWY_ATTR {
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, &from->bits))));
  };
  int64_t c = begin;
  for (; c + 2 * lanes() <= end; c += 2 * lanes()) {
    VF total0 = accumulate ? hn::LoadU(d, out + c) : hn::Zero(d);
    VF total1 = accumulate ? hn::LoadU(d, out + c + lanes()) : hn::Zero(d);
    for (int64_t first = 0; first < rows; first += 64) {
      VF run0 = hn::Zero(d), run1 = hn::Zero(d);
      const int64_t last = first + 64 < rows ? first + 64 : rows;
      for (int64_t r = first; r < last; ++r) {
        run0 = hn::Add(run0, wide(x + r * stride + c));
        run1 = hn::Add(run1, wide(x + r * stride + c + lanes()));
      }
      total0 = hn::Add(total0, run0);
      total1 = hn::Add(total1, run1);
    }
    hn::StoreU(total0, d, out + c);
    hn::StoreU(total1, d, out + c + lanes());
  }
  for (; c < end; ++c) {
    float total = accumulate ? out[c] : 0.0f;
    for (int64_t first = 0; first < rows; first += 64) {
      float run = 0.0f;
      const int64_t last = first + 64 < rows ? first + 64 : rows;
      for (int64_t r = first; r < last; ++r) run += static_cast<float>(x[r * stride + c]);
      total += run;
    }
    out[c] = total;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <bit>

#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {
namespace {

// Elements that one chunk of a whole-array sum takes in float32.
constexpr int64_t kChunk = 4096;

double chunked_sum(float (*body)(int64_t, const float*, const float*), int64_t n, const float* a,
                   const float* b) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  if (chunks <= 1) return n > 0 ? static_cast<double>(body(n, a, b)) : 0.0;
  Buffer<float> partial(static_cast<size_t>(chunks));
  parallel_for(chunks, kGrain / kChunk, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * kChunk;
      partial[static_cast<size_t>(i)] = body(std::min(kChunk, n - first), a + first, b + first);
    }
  });
  double total = 0.0;
  for (int64_t i = 0; i < chunks; ++i) total += static_cast<double>(partial[static_cast<size_t>(i)]);
  return total;
}

}  // namespace

double sum(int64_t n, const float* x) {
  return chunked_sum(FOVEA_KERNEL(sum_body), n, x, x);
}
double dot(int64_t n, const float* a, const float* b) {
  return chunked_sum(FOVEA_KERNEL(dot_body), n, a, b);
}
double squared_norm(int64_t n, const float* x) {
  return dot(n, x, x);
}

float max_abs(int64_t n, const float* x) {
  auto* body = FOVEA_KERNEL(max_abs_bits_body);
  const int64_t chunks = (n + kGrain - 1) / kGrain;
  if (chunks <= 1) return n > 0 ? std::bit_cast<float>(body(n, x)) : 0.0f;
  Buffer<uint32_t> partial(static_cast<size_t>(chunks));
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      partial[static_cast<size_t>(i)] = body(std::min(kGrain, n - i * kGrain), x + i * kGrain);
    }
  });
  return std::bit_cast<float>(*std::max_element(partial.data(), partial.data() + chunks));
}

bool all_finite(int64_t n, const float* x) {
  return std::bit_cast<uint32_t>(max_abs(n, x)) < 0x7F800000u;
}

void column_sums(int64_t rows, int64_t cols, const float* x, float* out, bool accumulate, int64_t stride) {
  auto* body = FOVEA_KERNEL(column_sums_body);
  if (stride == 0) stride = cols;
  // Threads own whole cache lines of columns.
  const int64_t lines = (cols + 15) / 16;
  parallel_for(lines, row_grain(rows * 16), [&](int64_t begin, int64_t end) {
    body(rows, x, stride, begin * 16, std::min(cols, end * 16), out, accumulate);
  });
}

void column_sums(int64_t rows, int64_t cols, const BFloat16* x, float* out, bool accumulate, int64_t stride) {
  auto* body = FOVEA_KERNEL(half_column_sums_body);
  if (stride == 0) stride = cols;
  const int64_t lines = (cols + 31) / 32;
  parallel_for(lines, row_grain(rows * 32), [&](int64_t begin, int64_t end) {
    body(rows, x, stride, begin * 32, std::min(cols, end * 32), out, accumulate);
  });
}

void row_sums(int64_t rows, int64_t cols, const float* x, float* out) {
  auto* body = FOVEA_KERNEL(sum_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) out[r] = body(cols, x + r * cols, nullptr);
  });
}

void row_dots(int64_t rows, int64_t cols, const float* a, const float* b, float* out) {
  auto* body = FOVEA_KERNEL(dot_body);
  parallel_for(rows, row_grain(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) out[r] = body(cols, a + r * cols, b + r * cols);
  });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
