// Rows of a table by index, and the way back. Indices must be < the table's rows (the caller checks); a
// negative index stands for "none": gather writes zeros, scatter skips it.
#pragma once

#include <cstdint>

namespace fovea::kernels {

// out[i, :] = table[ids[i], :]; out [n, cols].
void gather_rows(int64_t n, int64_t cols, const float* table, const int64_t* ids, float* out);
void gather_rows(int64_t n, int64_t cols, const float* table, const int32_t* ids, float* out);

// dtable[ids[i], :] += dy[i, :], in the order of i for every element whatever the number of threads (they own
// ranges of columns). dtable [rows, cols].
void scatter_add_rows(int64_t n, int64_t cols, const float* dy, const int64_t* ids, int64_t rows,
                      float* dtable);
void scatter_add_rows(int64_t n, int64_t cols, const float* dy, const int32_t* ids, int64_t rows,
                      float* dtable);

}  // namespace fovea::kernels
