// Convolutions: over packed sequences by unfolding windows into rows (then a matrix product), and over images
// as patches times weights. Channels come last, as tokens hold them.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// Windows over one sequence of packed tokens. Positions outside of the sequence read as zero.
struct Window {
  int64_t width = 1;      // tokens that a window reads
  int64_t stride = 1;     // tokens from one window to the next
  int64_t dilation = 1;   // tokens from one that it reads to the next
  int64_t pad_left = 0;   // zeros in front; causal: (width - 1)·dilation, "same": half of that
  int64_t pad_right = 0;  // zeros behind
};

// How many windows a sequence of `length` tokens gives: ⌊(length + pads - dilation·(width-1) - 1)/stride⌋ +
// 1, at least 0; an empty sequence gives 0.
int64_t window_count(const Window& window, int64_t length);

// x [T, channels] cut by in_offsets [count + 1]; out [T', width·channels] cut by out_offsets, whose lengths
// are the window counts. out[w, j·channels + c] = x[begin + w·stride + j·dilation - pad_left, c].
void unfold(const Window& window, int64_t count, const int64_t* in_offsets, const int64_t* out_offsets,
            int64_t channels, const float* x, float* out);
// The gradient of unfold: dx[position] = Σ of the windows that read it, in order of position in the window.
void fold(const Window& window, int64_t count, const int64_t* in_offsets, const int64_t* out_offsets,
          int64_t channels, const float* dout, float* dx, bool accumulate = false);

// Images [batch, height, width, channels] and the windows over them, in pixels. Sizes, kernels and strides >=
// 1, pads >= 0, and a window fits into the padded image: the caller checks.
struct Convolution2d {
  // Of the images.
  int64_t batch = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t in_channels = 0;

  int64_t out_channels = 0;  // filters; not read by the maximum

  // Of a window, and how far it moves.
  int64_t kernel_h = 1;
  int64_t kernel_w = 1;
  int64_t stride_h = 1;
  int64_t stride_w = 1;

  int64_t pad_h = 0;  // zeros above and below
  int64_t pad_w = 0;  // zeros on the left and on the right

  // How many windows fit, down and across: ⌊(size + 2·pad − kernel) / stride⌋ + 1.
  int64_t out_height() const { return (height + 2 * pad_h - kernel_h) / stride_h + 1; }
  int64_t out_width() const { return (width + 2 * pad_w - kernel_w) / stride_w + 1; }
};

// y [batch, out_height, out_width, out_channels]; weights [out_channels, in_channels, kernel_h, kernel_w], as
// PyTorch stores them; bias [out_channels] may be null.
void conv2d_forward(const Convolution2d& spec, const float* x, const float* weights, const float* bias,
                    float* y);
// Each output may be null. dx is written; dweights and dbias are written, or added to when accumulate.
void conv2d_backward(const Convolution2d& spec, const float* x, const float* weights, const float* dy,
                     float* dx, float* dweights, float* dbias, bool accumulate = false);

// Maximum over windows; padding never wins. in_channels counts, out_channels is not read.
// argmax [batch, out_h, out_w, channels]: row-major position h·width + w of the maximum, the first among
// equals.
void max_pool2d_forward(const Convolution2d& spec, const float* x, float* y, int32_t* argmax);
// dx is zeroed first.
void max_pool2d_backward(const Convolution2d& spec, const float* dy, const int32_t* argmax, float* dx);

}  // namespace fovea::kernels
