// Pooling over the sequences of a packed batch: offsets [count + 1] cut the rows of x [T, cols], out is
// [count, cols]. An empty sequence gives zeros (and argmax -1) and passes no gradient. Sums run over rows in
// order.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// out[s] = Σ_r x[r] over the rows of sequence s, or their mean. Backward: dx[r] = dy[s], or dy[s] / length;
// written, or added when accumulate.
void segment_sum_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* x, float* out);
void segment_sum_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* dy, float* dx,
                          bool accumulate = false);
void segment_mean_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* x, float* out);
void segment_mean_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* dy, float* dx,
                           bool accumulate = false);

// argmax [count, cols]: the row of x (counted over the whole batch) that gave the maximum, the first among
// equals. A NaN wins.
void segment_max_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* x, float* out,
                         int64_t* argmax);
// Adds nothing to rows that were not the maximum: dx is zeroed first unless accumulate.
void segment_max_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* dy,
                          const int64_t* argmax, float* dx, bool accumulate = false);
// Weighted sum with one weight a row (attention pooling): out[s] = Σ_r weight[r]·x[r].
void segment_weighted_sum_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* weights,
                                  const float* x, float* out);
// dx[r] = weight[r]·dy[s] and dweights[r] = Σ_c x[r, c]·dy[s, c]; either may be null.
void segment_weighted_sum_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* weights,
                                   const float* x, const float* dy, float* dx, float* dweights);
// Softmax over the rows of each sequence: x, y [T].
void segment_softmax_forward(int64_t count, const int64_t* offsets, const float* x, float* y);
// dx = y·(dy − Σ_r y·dy), the sum over the rows of the sequence; y as forward gave it.
void segment_softmax_backward(int64_t count, const int64_t* offsets, const float* y, const float* dy,
                              float* dx);

}  // namespace fovea::kernels
