#include "fovea/kernels/transpose.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/transpose.cpp"
#include "kernels/targets.hpp"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace fovea::kernels {
namespace HWY_NAMESPACE {

// Rows [begin, end) of x, begin a multiple of 4: four rows are interleaved in registers, so that four
// neighbours of an output row are written at once. Columns go in strips of 64, whose output lines stay in the
// first-level cache while 16 rows (one line of each output row) are filled.
void transpose_body(int64_t cols, const float* x, int64_t stride, float* out, int64_t out_stride,
                    int64_t begin, int64_t end) {
  const F32 d;
  const int64_t step = lanes();
  HWY_ALIGN float turned[4 * HWY_MAX_BYTES / sizeof(float)];
  for (int64_t strip = 0; strip < cols; strip += 64) {
    const int64_t last = strip + 64 < cols ? strip + 64 : cols;
    int64_t r = begin;
    for (; r + 4 <= end; r += 4) {
      const float* from = x + r * stride;
      int64_t c = strip;
      for (; c + step <= last; c += step) {
        hn::StoreInterleaved4(hn::LoadU(d, from + c), hn::LoadU(d, from + stride + c),
                              hn::LoadU(d, from + 2 * stride + c), hn::LoadU(d, from + 3 * stride + c), d,
                              turned);
        for (int64_t j = 0; j < step; ++j)
          std::memcpy(out + (c + j) * out_stride + r, turned + 4 * j, 4 * sizeof(float));
      }
      for (; c < last; ++c) {
        for (int64_t i = 0; i < 4; ++i) out[c * out_stride + r + i] = from[i * stride + c];
      }
    }
    for (; r < end; ++r) {
      for (int64_t c = strip; c < last; ++c) out[c * out_stride + r] = x[r * stride + c];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace fovea::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "fovea/base/parallel.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

void transpose(int64_t rows, int64_t cols, const float* x, int64_t stride, float* out, int64_t out_stride) {
  auto* body = FOVEA_KERNEL(transpose_body);
  // Threads own whole cache lines of the output rows.
  const int64_t lines = (rows + 15) / 16;
  parallel_for(lines, row_grain(cols * 16), [&](int64_t begin, int64_t end) {
    body(cols, x, stride, out, out_stride, begin * 16, std::min(rows, end * 16));
  });
}

}  // namespace fovea::kernels
#endif  // HWY_ONCE
