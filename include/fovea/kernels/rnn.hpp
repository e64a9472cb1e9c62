// The pointwise parts of LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014) cells, PyTorch's
// gate order. rows sequences advance by one step; matrix products are the caller's.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// gates [rows, 4·hidden] = i | f | g | o before activation; afterwards activated (σ, σ, tanh, σ), for
// backward. c = f·c_prev + i·g, h = o·tanh(c). c_prev null means zeros; c may be c_prev in inference. [rows,
// hidden] each.
void lstm_cell_forward(int64_t rows, int64_t hidden, float* gates, const float* c_prev, float* c, float* h);

// gates activated, as forward left them. dh and dc (null: zeros) are the gradients into h and c; writes the
// gradient before activation to dgates [rows, 4·hidden] (may be gates) and dc_prev (null: not wanted; may be
// dc).
void lstm_cell_backward(int64_t rows, int64_t hidden, const float* gates, const float* c_prev, const float* c,
                        const float* dh, const float* dc, float* dgates, float* dc_prev);

// gx [rows, 3·hidden] = W·x + b, gh = U·h + b' in the order r | z | n. r = σ(gx_r + gh_r), z = σ(gx_z +
// gh_z), n = tanh(gx_n + r·gh_n), h = (1-z)·n + z·h_prev. Afterwards gx holds r | z | n, for backward; gh is
// kept.
void gru_cell_forward(int64_t rows, int64_t hidden, float* gx, const float* gh, const float* h_prev,
                      float* h);

// activated = gx as forward left it. dgx and dgh [rows, 3·hidden]; dh_prev gets the direct part z·dh only
// (the part through gh is the caller's product with U). h_prev null means zeros. dgx may be activated, dgh
// may be gh.
void gru_cell_backward(int64_t rows, int64_t hidden, const float* activated, const float* gh,
                       const float* h_prev, const float* dh, float* dgx, float* dgh, float* dh_prev);

}  // namespace fovea::kernels
