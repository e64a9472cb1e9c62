// Recurrent and convolutional layers in float64, token by token. Includes nothing of the engine.
#pragma once

#include "tests/reference/array.hpp"

namespace fovea::reference {

// Each sequence alone, one step after another. b may be null. h0, c0 [N, hidden] or null.
inline Array lstm(const Array& x, const Array& w, const Array& u, const Array* b,
                  const std::vector<int64_t>& offsets, bool backwards, const Array* h0 = nullptr,
                  const Array* c0 = nullptr) {
  const int64_t hidden = u.dim(1);
  Array y = zeros({x.dim(0), hidden});
  for (size_t n = 0; n + 1 < offsets.size(); ++n) {
    std::vector<double> h(static_cast<size_t>(hidden), 0.0);
    std::vector<double> c = h;
    for (int64_t j = 0; j < hidden; ++j) {
      if (h0 != nullptr) h[static_cast<size_t>(j)] = h0->at(static_cast<int64_t>(n), j);
      if (c0 != nullptr) c[static_cast<size_t>(j)] = c0->at(static_cast<int64_t>(n), j);
    }
    const int64_t length = offsets[n + 1] - offsets[n];
    for (int64_t s = 0; s < length; ++s) {
      const int64_t t = backwards ? offsets[n + 1] - 1 - s : offsets[n] + s;
      std::vector<double> g(static_cast<size_t>(4 * hidden));
      for (int64_t j = 0; j < 4 * hidden; ++j) {
        double a = b == nullptr ? 0 : b->at(j);
        for (int64_t k = 0; k < x.dim(1); ++k) a += w.at(j, k) * x.at(t, k);
        for (int64_t k = 0; k < hidden; ++k) a += u.at(j, k) * h[static_cast<size_t>(k)];
        g[static_cast<size_t>(j)] = a;
      }
      for (int64_t j = 0; j < hidden; ++j) {
        const auto gate = [&](int64_t i) { return g[static_cast<size_t>(i * hidden + j)]; };
        double& cell = c[static_cast<size_t>(j)];
        cell = sigmoid(gate(1)) * cell + sigmoid(gate(0)) * std::tanh(gate(2));
        h[static_cast<size_t>(j)] = sigmoid(gate(3)) * std::tanh(cell);
        y.at(t, j) = h[static_cast<size_t>(j)];
      }
    }
  }
  return y;
}

inline Array gru(const Array& x, const Array& w, const Array& u, const Array& b, const Array& b_recurrent,
                 const std::vector<int64_t>& offsets, bool backwards) {
  const int64_t hidden = u.dim(1);
  Array y = zeros({x.dim(0), hidden});
  for (size_t n = 0; n + 1 < offsets.size(); ++n) {
    std::vector<double> h(static_cast<size_t>(hidden), 0.0);
    const int64_t length = offsets[n + 1] - offsets[n];
    for (int64_t s = 0; s < length; ++s) {
      const int64_t t = backwards ? offsets[n + 1] - 1 - s : offsets[n] + s;
      std::vector<double> gx(static_cast<size_t>(3 * hidden));
      std::vector<double> gh = gx;
      for (int64_t j = 0; j < 3 * hidden; ++j) {
        double a = b.at(j);
        for (int64_t k = 0; k < x.dim(1); ++k) a += w.at(j, k) * x.at(t, k);
        gx[static_cast<size_t>(j)] = a;
        a = b_recurrent.at(j);
        for (int64_t k = 0; k < hidden; ++k) a += u.at(j, k) * h[static_cast<size_t>(k)];
        gh[static_cast<size_t>(j)] = a;
      }
      for (int64_t j = 0; j < hidden; ++j) {
        const auto at = [&](int64_t i) { return static_cast<size_t>(i * hidden + j); };
        const double r = sigmoid(gx[at(0)] + gh[at(0)]);
        const double z = sigmoid(gx[at(1)] + gh[at(1)]);
        const double candidate = std::tanh(gx[at(2)] + r * gh[at(2)]);
        h[static_cast<size_t>(j)] = (1 - z) * candidate + z * h[static_cast<size_t>(j)];
        y.at(t, j) = h[static_cast<size_t>(j)];
      }
    }
  }
  return y;
}

struct Window1d {
  int64_t stride = 1, dilation = 1, pad_left = 0, pad_right = 0;
};

// weight [out, width, in] flattened in dims.
inline Array conv1d(const Array& x, const Array& weight, const Array& b, const std::vector<int64_t>& offsets,
                    const Window1d& o) {
  const int64_t out = weight.dim(0);
  const int64_t width = weight.dim(1);
  const int64_t in = weight.dim(2);
  Array y{{0, out}, {}};
  for (size_t n = 0; n + 1 < offsets.size(); ++n) {
    const int64_t length = offsets[n + 1] - offsets[n];
    const int64_t room = length + o.pad_left + o.pad_right - o.dilation * (width - 1) - 1;
    const int64_t count = length == 0 || room < 0 ? 0 : room / o.stride + 1;
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t f = 0; f < out; ++f) {
        double s = b.at(f);
        for (int64_t j = 0; j < width; ++j) {
          const int64_t t = p * o.stride + j * o.dilation - o.pad_left;
          if (t < 0 || t >= length) continue;
          for (int64_t c = 0; c < in; ++c) s += weight.at((f * width + j) * in + c) * x.at(offsets[n] + t, c);
        }
        y.data.push_back(s);
      }
    }
    y.dims[0] += count;
  }
  return y;
}

struct Window2d {
  int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0;
};

// Calls visit(image, output row, output column, kernel row, kernel column, input row, input column), inside
// only.
template <class Visit>
void visit_windows(const Array& x, int64_t kh, int64_t kw, const Window2d& o, int64_t* oh, int64_t* ow,
                   Visit visit) {
  *oh = (x.dim(1) + 2 * o.pad_h - kh) / o.stride_h + 1;
  *ow = (x.dim(2) + 2 * o.pad_w - kw) / o.stride_w + 1;
  for (int64_t n = 0; n < x.dim(0); ++n) {
    for (int64_t i = 0; i < *oh; ++i) {
      for (int64_t j = 0; j < *ow; ++j) {
        for (int64_t a = 0; a < kh; ++a) {
          for (int64_t b = 0; b < kw; ++b) {
            const int64_t r = i * o.stride_h + a - o.pad_h;
            const int64_t c = j * o.stride_w + b - o.pad_w;
            if (r >= 0 && r < x.dim(1) && c >= 0 && c < x.dim(2)) visit(n, i, j, a, b, r, c);
          }
        }
      }
    }
  }
}

inline Array conv2d(const Array& x, const Array& weight, const Array& bias, const Window2d& o) {
  const int64_t out = weight.dim(0);
  const int64_t in = weight.dim(1);
  int64_t oh = 0;
  int64_t ow = 0;
  visit_windows(Array{{0, x.dim(1), x.dim(2), in}, {}}, weight.dim(2), weight.dim(3), o, &oh, &ow,
                [](auto...) {});
  Array y = zeros({x.dim(0), oh, ow, out});
  for (size_t i = 0; i < y.data.size(); ++i) y.data[i] = bias.at(static_cast<int64_t>(i) % out);
  visit_windows(x, weight.dim(2), weight.dim(3), o, &oh, &ow,
                [&](int64_t n, int64_t i, int64_t j, int64_t a, int64_t b, int64_t r, int64_t c) {
                  for (int64_t f = 0; f < out; ++f) {
                    for (int64_t k = 0; k < in; ++k) {
                      y.at(((n * oh + i) * ow + j) * out + f) +=
                          weight.at(((f * in + k) * weight.dim(2) + a) * weight.dim(3) + b) *
                          x.at(((n * x.dim(1) + r) * x.dim(2) + c) * in + k);
                    }
                  }
                });
  return y;
}

inline Array max_pool2d(const Array& x, int64_t kh, int64_t kw, const Window2d& o) {
  const int64_t channels = x.dim(3);
  int64_t oh = 0;
  int64_t ow = 0;
  visit_windows(Array{{0, x.dim(1), x.dim(2), channels}, {}}, kh, kw, o, &oh, &ow, [](auto...) {});
  Array y = zeros({x.dim(0), oh, ow, channels});
  for (double& v : y.data) v = -std::numeric_limits<double>::infinity();
  visit_windows(x, kh, kw, o, &oh, &ow,
                [&](int64_t n, int64_t i, int64_t j, int64_t, int64_t, int64_t r, int64_t c) {
                  for (int64_t k = 0; k < channels; ++k) {
                    double& v = y.at(((n * oh + i) * ow + j) * channels + k);
                    v = std::max(v, x.at(((n * x.dim(1) + r) * x.dim(2) + c) * channels + k));
                  }
                });
  return y;
}

}  // namespace fovea::reference
