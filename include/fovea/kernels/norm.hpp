// LayerNorm (Ba et al. 2016) and RMSNorm (Zhang and Sennrich 2019) over the rows of [rows, cols], float32,
// statistics in two passes (mean first), so that a large common offset costs no digits. One thread works on
// whole rows.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// y = (x - mean)·rstd·gamma + beta with rstd = 1/√(variance + eps), variance divided by cols.
// gamma and beta [cols] may be null (1 and 0); mean and rstd [rows], needed by backward, may be null. y may
// be x.
void layer_norm_forward(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* beta,
                        float eps, float* y, float* mean, float* rstd);

// y of either norm again, to the bit, from the statistics that its forward gave; mean is null for RMSNorm.
void norm_apply(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* beta,
                const float* mean, const float* rstd, float* y);

// sum_out = x + residual, y = layer_norm(sum_out): one pass over memory. sum_out may be x or residual.
void add_layer_norm_forward(int64_t rows, int64_t cols, const float* x, const float* residual,
                            const float* gamma, const float* beta, float eps, float* sum_out, float* y,
                            float* mean, float* rstd);

// Gradients from dy. dx is written (or added to, when accumulate_dx); dgamma and dbeta [cols] are always
// added to and may be null. dx may be dy unless accumulate_dx. Column sums are taken in fixed chunks of rows.
void layer_norm_backward(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* mean,
                         const float* rstd, const float* dy, float* dx, float* dgamma, float* dbeta,
                         bool accumulate_dx = false);

// y = x·rstd·gamma with rstd = 1/√(mean(x²) + eps). gamma and rstd may be null. y may be x.
void rms_norm_forward(int64_t rows, int64_t cols, const float* x, const float* gamma, float eps, float* y,
                      float* rstd);

// sum_out = x + residual, y = rms_norm(sum_out), as add_layer_norm_forward.
void add_rms_norm_forward(int64_t rows, int64_t cols, const float* x, const float* residual,
                          const float* gamma, float eps, float* sum_out, float* y, float* rstd);

// As layer_norm_backward, without mean and beta.
void rms_norm_backward(int64_t rows, int64_t cols, const float* x, const float* gamma, const float* rstd,
                       const float* dy, float* dx, float* dgamma, bool accumulate_dx = false);

}  // namespace fovea::kernels
