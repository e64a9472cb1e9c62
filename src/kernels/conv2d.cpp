// Convolution over images as patches times weights: patches of a few images at a time, [pixels,
// kernel_h·kernel_w· channels], and one matrix product, which gives the same bits for any number of threads.
#include <algorithm>
#include <cstring>

#include "fovea/base/memory.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/kernels/convolution.hpp"
#include "fovea/kernels/matmul.hpp"
#include "fovea/kernels/reduce.hpp"
#include "kernels/grain.hpp"

namespace fovea::kernels {
namespace {

int64_t patch_size(const Convolution2d& s) {
  return s.kernel_h * s.kernel_w * s.in_channels;
}
int64_t pixels(const Convolution2d& s) {
  return s.out_height() * s.out_width();
}
bool is_empty(const Convolution2d& s) {
  return s.batch <= 0 || s.out_height() <= 0 || s.out_width() <= 0;
}

// Images whose patches are held at once: about 16 MB.
int64_t images_at_once(const Convolution2d& s) {
  return std::clamp<int64_t>((int64_t{1} << 22) / std::max<int64_t>(1, pixels(s) * patch_size(s)), 1,
                             s.batch);
}

// [out, in, kh, kw] to [out, kh, kw, in], or back: the order in which a patch lies in memory.
void permute_weights(const Convolution2d& s, const float* from, float* to, bool back, bool add) {
  const int64_t area = s.kernel_h * s.kernel_w;
  for (int64_t o = 0; o < s.out_channels; ++o) {
    for (int64_t c = 0; c < s.in_channels; ++c) {
      for (int64_t k = 0; k < area; ++k) {
        const int64_t stored = (o * s.in_channels + c) * area + k;
        const int64_t packed = (o * area + k) * s.in_channels + c;
        if (!back) {
          to[packed] = from[stored];
        } else {
          to[stored] = (add ? to[stored] : 0.0f) + from[packed];
        }
      }
    }
  }
}

// Calls body(input offset or -1 for padding, patch offset) for the kernel's pixels of output pixel `p`.
template <class Body>
void for_patch(const Convolution2d& s, int64_t p, Body&& body) {
  const int64_t top = p / s.out_width() * s.stride_h - s.pad_h;
  const int64_t left = p % s.out_width() * s.stride_w - s.pad_w;
  for (int64_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int64_t kx = 0; kx < s.kernel_w; ++kx) {
      const int64_t y = top + ky;
      const int64_t x = left + kx;
      const bool inside = y >= 0 && y < s.height && x >= 0 && x < s.width;
      body(inside ? y * s.width + x : -1, ky * s.kernel_w + kx);
    }
  }
}

void unfold_images(const Convolution2d& s, int64_t images, const float* x, float* out) {
  const auto bytes = static_cast<size_t>(s.in_channels) * sizeof(float);
  const int64_t image = s.height * s.width * s.in_channels;
  parallel_for(images * pixels(s), row_grain(patch_size(s)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = x + i / pixels(s) * image;
      for_patch(s, i % pixels(s), [&](int64_t at, int64_t k) {
        float* to = out + i * patch_size(s) + k * s.in_channels;
        if (at < 0) {
          std::memset(to, 0, bytes);
        } else {
          std::memcpy(to, from + at * s.in_channels, bytes);
        }
      });
    }
  });
}

void fold_images(const Convolution2d& s, int64_t images, const float* patches, float* dx) {
  const int64_t image = s.height * s.width * s.in_channels;
  parallel_for(images, row_grain(pixels(s) * patch_size(s)), [&](int64_t begin, int64_t end) {
    std::fill(dx + begin * image, dx + end * image, 0.0f);
    for (int64_t i = begin * pixels(s); i < end * pixels(s); ++i) {
      float* to = dx + i / pixels(s) * image;
      for_patch(s, i % pixels(s), [&](int64_t at, int64_t k) {
        if (at < 0) return;
        const float* from = patches + i * patch_size(s) + k * s.in_channels;
        for (int64_t c = 0; c < s.in_channels; ++c) to[at * s.in_channels + c] += from[c];
      });
    }
  });
}

}  // namespace

void conv2d_forward(const Convolution2d& s, const float* x, const float* weights, const float* bias,
                    float* y) {
  if (is_empty(s)) return;
  const int64_t step = images_at_once(s);
  Buffer<float> packed(static_cast<size_t>(s.out_channels * patch_size(s)));
  Buffer<float> patches(static_cast<size_t>(step * pixels(s) * patch_size(s)));
  permute_weights(s, weights, packed.data(), false, false);
  for (int64_t first = 0; first < s.batch; first += step) {
    const int64_t images = std::min(step, s.batch - first);
    unfold_images(s, images, x + first * s.height * s.width * s.in_channels, patches.data());
    matmul(
        {.m = images * pixels(s), .n = s.out_channels, .k = patch_size(s), .transpose_b = true, .bias = bias},
        patches.data(), packed.data(), y + first * pixels(s) * s.out_channels);
  }
}

void conv2d_backward(const Convolution2d& s, const float* x, const float* weights, const float* dy, float* dx,
                     float* dweights, float* dbias, bool accumulate) {
  const int64_t count = s.out_channels * patch_size(s);
  if (is_empty(s)) {
    if (dx != nullptr)
      std::fill(dx, dx + std::max<int64_t>(0, s.batch * s.height * s.width * s.in_channels), 0.0f);
    if (dweights != nullptr && !accumulate) std::fill(dweights, dweights + count, 0.0f);
    if (dbias != nullptr && !accumulate) std::fill(dbias, dbias + s.out_channels, 0.0f);
    return;
  }
  if (dbias != nullptr) column_sums(s.batch * pixels(s), s.out_channels, dy, dbias, accumulate);
  const int64_t step = images_at_once(s);
  Buffer<float> packed(static_cast<size_t>(count));
  Buffer<float> dpacked(static_cast<size_t>(count));
  Buffer<float> patches(static_cast<size_t>(step * pixels(s) * patch_size(s)));
  permute_weights(s, weights, packed.data(), false, false);
  for (int64_t first = 0; first < s.batch; first += step) {
    const int64_t images = std::min(step, s.batch - first);
    const int64_t rows = images * pixels(s);
    const int64_t offset = first * s.height * s.width * s.in_channels;
    const float* grad = dy + first * pixels(s) * s.out_channels;
    if (dweights != nullptr) {
      unfold_images(s, images, x + offset, patches.data());
      matmul(
          {.m = s.out_channels, .n = patch_size(s), .k = rows, .transpose_a = true, .accumulate = first > 0},
          grad, patches.data(), dpacked.data());
    }
    if (dx != nullptr) {
      matmul({.m = rows, .n = patch_size(s), .k = s.out_channels}, grad, packed.data(), patches.data());
      fold_images(s, images, patches.data(), dx + offset);
    }
  }
  if (dweights != nullptr) permute_weights(s, dpacked.data(), dweights, true, accumulate);
}

void max_pool2d_forward(const Convolution2d& s, const float* x, float* y, int32_t* argmax) {
  if (is_empty(s)) return;
  const int64_t channels = s.in_channels;
  const int64_t image = s.height * s.width * channels;
  parallel_for(s.batch * pixels(s), row_grain(patch_size(s)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = x + i / pixels(s) * image;
      float* top = y + i * channels;
      int32_t* where = argmax + i * channels;
      std::fill(where, where + channels, -1);
      std::fill(top, top + channels, 0.0f);  // a window wholly in the padding
      for_patch(s, i % pixels(s), [&](int64_t at, int64_t) {
        if (at < 0) return;
        for (int64_t c = 0; c < channels; ++c) {
          const float v = from[at * channels + c];
          if (where[c] < 0 || v > top[c]) {
            top[c] = v;
            where[c] = static_cast<int32_t>(at);
          }
        }
      });
    }
  });
}

void max_pool2d_backward(const Convolution2d& s, const float* dy, const int32_t* argmax, float* dx) {
  if (s.batch <= 0) return;
  const int64_t channels = s.in_channels;
  const int64_t image = s.height * s.width * channels;
  const int64_t out_image = is_empty(s) ? 0 : pixels(s) * channels;
  parallel_for(s.batch, row_grain(image), [&](int64_t begin, int64_t end) {
    std::fill(dx + begin * image, dx + end * image, 0.0f);
    for (int64_t i = begin * out_image; i < end * out_image; ++i) {
      if (argmax[i] >= 0) dx[i / out_image * image + argmax[i] * channels + i % channels] += dy[i];
    }
  });
}

}  // namespace fovea::kernels
