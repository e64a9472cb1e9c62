// Convolutions: over the tokens of packed sequences, and over images. float32.
#pragma once

#include "fovea/autograd/var.hpp"

namespace fovea::autograd {

// How a window moves along the tokens of a sequence. By default it visits every place that it fits in.
struct Conv1dOptions {
  int64_t stride = 1;     // tokens from one window to the next
  int64_t dilation = 1;   // tokens from one of its elements to the next; 1: neighbours
  int64_t pad_left = 0;   // zeros in front of each sequence; causal: (width − 1)·dilation
  int64_t pad_right = 0;  // and behind it

  // The offsets of the output for windows of `width`: sequence n gets
  // ⌊(length + pads − dilation·(width − 1) − 1) / stride⌋ + 1 tokens, at least 0, and none when it is empty.
  // ArgumentError unless width, stride and dilation >= 1 and the pads >= 0.
  Offsets out_offsets(const Offsets& offsets, int64_t width) const;
};

// y[p, o] = b[o] + Σ_{j,c} weight[o, j, c] · x[begin + p·stride + j·dilation − pad_left, c], zeros outside of
// the sequence. x [T, in], weight [out, width, in] (PyTorch's [out, in, width] with the last two exchanged,
// so that a window is one row), b [out] or undefined -> [T', out], cut by `out_offsets`. The windows are
// unfolded into rows for one matrix product, and unfolded again in the backward pass instead of kept.
// ArgumentError for shapes that do not fit, or out_offsets other than options.out_offsets() gives.
Var conv1d(const Var& x, const Var& weight, const Var& b, const Offsets& offsets, const Offsets& out_offsets,
           const Conv1dOptions& options = {});

// How a window moves over an image, in pixels.
struct Conv2dOptions {
  int64_t stride_h = 1;  // from one window to the one below
  int64_t stride_w = 1;  // … and to the one beside
  int64_t pad_h = 0;     // zeros above and below
  int64_t pad_w = 0;     // zeros on the left and on the right
};

// Images with channels last: x [batch, h, w, in], weight [out, in, kh, kw] (PyTorch's), b [out] or undefined
// -> [batch, (h + 2·pad_h − kh) / stride_h + 1, …, out]. ArgumentError for shapes that do not fit.
Var conv2d(const Var& x, const Var& weight, const Var& b, const Conv2dOptions& options = {});

// The maximum over windows of kernel_h × kernel_w of each channel; padding never wins, the first among equals
// gets the gradient. x [batch, h, w, channels].
Var max_pool2d(const Var& x, int64_t kernel_h, int64_t kernel_w, const Conv2dOptions& options);

}  // namespace fovea::autograd
