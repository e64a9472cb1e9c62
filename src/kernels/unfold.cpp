#include <algorithm>
#include <cstring>

#include "fovea/base/parallel.hpp"
#include "fovea/kernels/convolution.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {

int64_t window_count(const Window& w, int64_t length) {
  if (length <= 0) return 0;
  const int64_t room = length + w.pad_left + w.pad_right - w.dilation * (w.width - 1) - 1;
  return room < 0 ? 0 : room / w.stride + 1;
}

void unfold(const Window& window, int64_t count, const int64_t* in_offsets, const int64_t* out_offsets,
            int64_t channels, const float* x, float* out) {
  if (count <= 0) return;
  const int64_t width = window.width * channels;
  const auto bytes = static_cast<size_t>(channels) * sizeof(float);
  parallel_for(count, row_grain(out_offsets[count] * width / count), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      for (int64_t w = out_offsets[s]; w < out_offsets[s + 1]; ++w) {
        const int64_t first = in_offsets[s] + (w - out_offsets[s]) * window.stride - window.pad_left;
        for (int64_t j = 0; j < window.width; ++j) {
          const int64_t t = first + j * window.dilation;
          float* to = out + w * width + j * channels;
          if (t >= in_offsets[s] && t < in_offsets[s + 1]) {
            std::memcpy(to, x + t * channels, bytes);
          } else {
            std::memset(to, 0, bytes);
          }
        }
      }
    }
  });
}

void fold(const Window& window, int64_t count, const int64_t* in_offsets, const int64_t* out_offsets,
          int64_t channels, const float* dout, float* dx, bool accumulate) {
  if (count <= 0) return;
  const int64_t width = window.width * channels;
  parallel_for(count, row_grain(out_offsets[count] * width / count), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t windows = out_offsets[s + 1] - out_offsets[s];
      for (int64_t t = in_offsets[s]; t < in_offsets[s + 1]; ++t) {
        float* to = dx + t * channels;
        if (!accumulate) std::fill(to, to + channels, 0.0f);
        for (int64_t j = 0; j < window.width; ++j) {
          const int64_t start = t - in_offsets[s] + window.pad_left - j * window.dilation;
          if (start < 0 || start % window.stride != 0 || start / window.stride >= windows) continue;
          const float* from = dout + (out_offsets[s] + start / window.stride) * width + j * channels;
          for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
        }
      }
    }
  });
}

}  // namespace fovea::kernels
