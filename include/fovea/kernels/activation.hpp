// Activations and gated linear units, float32. |error| <= 1e-6·|value| + 2e-7 for each function over the
// whole range (checked by the tests); NaN stays NaN.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// A function of one number, and the derivative that the calls below take of it.
enum class Activation {
  kRelu,      // max(x, 0)
  kGelu,      // x·Φ(x), the exact form with erf (Hendrycks and Gimpel 2016)
  kGeluTanh,  // x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))), GPT-2's approximation
  kSilu,      // x·σ(x)
  kSigmoid,   // σ(x) = 1/(1 + e^-x)
  kTanh,
};

// y = act(x), elementwise over n. y may be x.
void activation_forward(Activation act, int64_t n, const float* x, float* y);

// dx = dy·act'(x), or dx += … when accumulate. x is the input and y the output of the forward call; only
// sigmoid and tanh read y (and not x), the others read x (and not y): what is not read may be null. dx may be
// dy. The derivative of relu at 0 is 0.
void activation_backward(Activation act, int64_t n, const float* x, const float* y, const float* dy,
                         float* dx, bool accumulate = false);

// Gated linear unit (Shazeer 2020): x [rows, 2·cols] holds gate | up in each row; y [rows, cols] =
// act(gate)·up.
void glu_forward(Activation act, int64_t rows, int64_t cols, const float* x, float* y);

// dx [rows, 2·cols] from dy [rows, cols]: d gate = dy·up·act'(gate), d up = dy·act(gate). dx may be x.
void glu_backward(Activation act, int64_t rows, int64_t cols, const float* x, const float* dy, float* dx);

// The two backward calls that also make the forward value again, with its bits, from the input alone: so that
// a layer need not keep it. act in one pass: y = act(x), dx = dy·act'(x); y may be x, dx may be dy.
void activation_backward_with_value(Activation act, int64_t n, const float* x, const float* dy, float* y,
                                    float* dx);
// y [rows, cols] = act(gate)·up and dx [rows, 2·cols]; y may be dy, dx may be x.
void glu_backward_with_value(Activation act, int64_t rows, int64_t cols, const float* x, const float* dy,
                             float* y, float* dx);

}  // namespace fovea::kernels
