#include "fovea/kernels/segments.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "fovea/base/parallel.hpp"
#include "kernels/grain.hpp"

// Plain loops: they are bound by memory, compilers vectorise them, and their order of additions is the same
// on every instruction set.
namespace fovea::kernels {
namespace {

// Sequences per thread so that a piece holds enough rows on average; cut from the shape alone is not needed,
// for sequences are independent.
int64_t grain(int64_t count, int64_t cols, const int64_t* offsets) {
  const int64_t elements = count > 0 ? (offsets[count] - offsets[0]) * cols / count : 1;
  return row_grain(elements);
}

void segment_scaled_sum(int64_t count, int64_t cols, const int64_t* offsets, const float* x, float* out,
                        bool mean) {
  parallel_for(count, grain(count, cols, offsets), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      float* to = out + s * cols;
      std::fill(to, to + cols, 0.0f);
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
        const float* from = x + r * cols;
        for (int64_t c = 0; c < cols; ++c) to[c] += from[c];
      }
      const int64_t length = offsets[s + 1] - offsets[s];
      if (!mean || length == 0) continue;
      const float scale = 1.0f / static_cast<float>(length);
      for (int64_t c = 0; c < cols; ++c) to[c] *= scale;
    }
  });
}

void segment_spread(int64_t count, int64_t cols, const int64_t* offsets, const float* dy, float* dx,
                    bool mean, bool accumulate) {
  parallel_for(count, grain(count, cols, offsets), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const float* from = dy + s * cols;
      const int64_t length = offsets[s + 1] - offsets[s];
      const float scale = mean && length > 0 ? 1.0f / static_cast<float>(length) : 1.0f;
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
        float* to = dx + r * cols;
        if (accumulate) {
          for (int64_t c = 0; c < cols; ++c) to[c] += scale * from[c];
        } else {
          for (int64_t c = 0; c < cols; ++c) to[c] = scale * from[c];
        }
      }
    }
  });
}

}  // namespace

void segment_sum_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* x, float* out) {
  segment_scaled_sum(count, cols, offsets, x, out, false);
}
void segment_sum_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* dy, float* dx,
                          bool accumulate) {
  segment_spread(count, cols, offsets, dy, dx, false, accumulate);
}
void segment_mean_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* x, float* out) {
  segment_scaled_sum(count, cols, offsets, x, out, true);
}
void segment_mean_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* dy, float* dx,
                           bool accumulate) {
  segment_spread(count, cols, offsets, dy, dx, true, accumulate);
}

void segment_max_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* x, float* out,
                         int64_t* argmax) {
  parallel_for(count, grain(count, cols, offsets), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      float* top = out + s * cols;
      int64_t* where = argmax + s * cols;
      const int64_t first = offsets[s];
      const int64_t last = offsets[s + 1];
      std::fill(where, where + cols, first < last ? first : -1);
      if (first == last) {
        std::fill(top, top + cols, 0.0f);
        continue;
      }
      std::copy(x + first * cols, x + (first + 1) * cols, top);
      for (int64_t r = first + 1; r < last; ++r) {
        const float* row = x + r * cols;
        for (int64_t c = 0; c < cols; ++c) {
          // A NaN wins and stays, so that it is seen downstream.
          const bool better = row[c] > top[c] || (row[c] != row[c] && top[c] == top[c]);
          where[c] = better ? r : where[c];
          top[c] = better ? row[c] : top[c];
        }
      }
    }
  });
}

void segment_max_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* dy,
                          const int64_t* argmax, float* dx, bool accumulate) {
  parallel_for(count, grain(count, cols, offsets), [&](int64_t begin, int64_t end) {
    if (!accumulate) std::fill(dx + offsets[begin] * cols, dx + offsets[end] * cols, 0.0f);
    for (int64_t i = begin * cols; i < end * cols; ++i) {
      if (argmax[i] >= 0) dx[argmax[i] * cols + i % cols] += dy[i];
    }
  });
}

void segment_weighted_sum_forward(int64_t count, int64_t cols, const int64_t* offsets, const float* weights,
                                  const float* x, float* out) {
  parallel_for(count, grain(count, cols, offsets), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      float* to = out + s * cols;
      std::fill(to, to + cols, 0.0f);
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
        const float* from = x + r * cols;
        for (int64_t c = 0; c < cols; ++c) to[c] += weights[r] * from[c];
      }
    }
  });
}

void segment_weighted_sum_backward(int64_t count, int64_t cols, const int64_t* offsets, const float* weights,
                                   const float* x, const float* dy, float* dx, float* dweights) {
  parallel_for(count, grain(count, cols, offsets), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const float* g = dy + s * cols;
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
        if (dx != nullptr) {
          for (int64_t c = 0; c < cols; ++c) dx[r * cols + c] = weights[r] * g[c];
        }
        if (dweights != nullptr) {
          double total = 0.0;
          for (int64_t c = 0; c < cols; ++c)
            total += static_cast<double>(x[r * cols + c]) * static_cast<double>(g[c]);
          dweights[r] = static_cast<float>(total);
        }
      }
    }
  });
}

void segment_softmax_forward(int64_t count, const int64_t* offsets, const float* x, float* y) {
  parallel_for(count, grain(count, 8, offsets), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      float top = -std::numeric_limits<float>::infinity();
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) top = std::max(top, x[r]);
      if (top == -std::numeric_limits<float>::infinity()) {
        std::fill(y + offsets[s], y + offsets[s + 1], 0.0f);
        continue;
      }
      double total = 0.0;
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) {
        y[r] = std::exp(x[r] - top);
        total += static_cast<double>(y[r]);
      }
      const auto inverse = static_cast<float>(1.0 / total);
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) y[r] *= inverse;
    }
  });
}

void segment_softmax_backward(int64_t count, const int64_t* offsets, const float* y, const float* dy,
                              float* dx) {
  parallel_for(count, grain(count, 2, offsets), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      double dot = 0.0;
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r)
        dot += static_cast<double>(y[r]) * static_cast<double>(dy[r]);
      for (int64_t r = offsets[s]; r < offsets[s + 1]; ++r) dx[r] = y[r] * (dy[r] - static_cast<float>(dot));
    }
  });
}

}  // namespace fovea::kernels
