// Softmax, log-softmax and cross-entropy over the rows of [rows, cols], float32, natural logarithm.
// A row that is all -inf (every class masked) gives a softmax of zeros, a log-softmax of -inf and lse = -inf.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// y[r, c] = exp(x[r, c] - lse[r]). y may be x.
void softmax(int64_t rows, int64_t cols, const float* x, float* y);
// dx = y·(dy - Σ_c y·dy). dx may be dy.
void softmax_backward(int64_t rows, int64_t cols, const float* y, const float* dy, float* dx);
// y = x - lse. y may be x.
void log_softmax(int64_t rows, int64_t cols, const float* x, float* y);
// dx = dy - exp(y)·Σ_c dy, with y the output of log_softmax. dx may be dy.
void log_softmax_backward(int64_t rows, int64_t cols, const float* y, const float* dy, float* dx);
// lse[r] = log Σ_c exp(x[r, c])
void log_sum_exp(int64_t rows, int64_t cols, const float* x, float* lse);

// Cross-entropy of logits [rows, classes] against one class a row.
// loss[r] = (1 - s)·w[t]·(-log p[t]) + s/classes·Σ_c w[c]·(-log p[c]), where s is label_smoothing and w the
// weights. A row whose target is ignore_index has loss 0 and gradient 0. Targets must lie in [0, classes)
// otherwise (the caller checks). These are sums per row: divide by cross_entropy_weight for PyTorch's
// weighted mean.
struct CrossEntropy {
  int64_t rows = 0;                      // of logits; may be 0
  int64_t classes = 0;                   // columns of logits
  float label_smoothing = 0.0f;          // in [0, 1)
  const float* class_weights = nullptr;  // [classes], null for all 1
  int64_t ignore_index = -100;           // PyTorch's
};

// Σ over counted rows of w[target].
double cross_entropy_weight(const CrossEntropy& spec, const int64_t* targets);
double cross_entropy_weight(const CrossEntropy& spec, const int32_t* targets);

// loss and lse [rows]; either may be null.
void cross_entropy_forward(const CrossEntropy& spec, const float* logits, const int64_t* targets, float* loss,
                           float* lse);
void cross_entropy_forward(const CrossEntropy& spec, const float* logits, const int32_t* targets, float* loss,
                           float* lse);

// dlogits = scale·row_scale[r]·d loss[r]/d logits; row_scale [rows] may be null (1). dlogits may be logits.
void cross_entropy_backward(const CrossEntropy& spec, const float* logits, const int64_t* targets,
                            const float* lse, float scale, const float* row_scale, float* dlogits);
void cross_entropy_backward(const CrossEntropy& spec, const float* logits, const int32_t* targets,
                            const float* lse, float scale, const float* row_scale, float* dlogits);

// Both at once, while the row is in cache. dlogits may be logits.
void cross_entropy_forward_backward(const CrossEntropy& spec, const float* logits, const int64_t* targets,
                                    float scale, float* loss, float* dlogits);
void cross_entropy_forward_backward(const CrossEntropy& spec, const float* logits, const int32_t* targets,
                                    float scale, float* loss, float* dlogits);

}  // namespace fovea::kernels
