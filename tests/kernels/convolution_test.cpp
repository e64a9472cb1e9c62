#include "fovea/kernels/convolution.hpp"

#include <numeric>

#include "tests/kernels/kernel_test.hpp"

namespace fovea::kernels {
namespace {

TEST(Unfold, ReadsWindowsOfEachSequenceAndFoldIsItsTranspose) {
  const std::vector<int64_t> in = {0, 5, 5, 6, 20};
  for (const Window& w : {Window{}, Window{3, 1, 1, 1, 1}, Window{3, 1, 2, 4, 0}, Window{4, 3, 1, 0, 2},
                          Window{7, 2, 1, 0, 0}}) {
    for (const int64_t channels : {1, 3, 16}) {
      std::vector<int64_t> out = {0};
      for (size_t s = 0; s + 1 < in.size(); ++s)
        out.push_back(out.back() + window_count(w, in[s + 1] - in[s]));
      const std::vector<float> x = normals(20 * channels, 1);
      const std::vector<float> g = normals(out.back() * w.width * channels, 2);
      std::vector<float> u(g.size(), 9.0f), dx(x.size());
      unfold(w, 4, in.data(), out.data(), channels, x.data(), u.data());
      fold(w, 4, in.data(), out.data(), channels, g.data(), dx.data());
      std::vector<double> want(x.size());
      size_t at = 0;
      for (size_t s = 0; s + 1 < in.size(); ++s) {
        for (int64_t i = 0; i < out[s + 1] - out[s]; ++i) {
          for (int64_t j = 0; j < w.width; ++j) {
            const int64_t t = in[s] + i * w.stride + j * w.dilation - w.pad_left;
            for (int64_t c = 0; c < channels; ++c, ++at) {
              const bool inside = t >= in[s] && t < in[s + 1];
              ASSERT_EQ(u[at], inside ? x[static_cast<size_t>(t * channels + c)] : 0.0f);
              if (inside) want[static_cast<size_t>(t * channels + c)] += static_cast<double>(g[at]);
            }
          }
        }
      }
      EXPECT_EQ(at, u.size());
      expect_close(dx, want, 1e-6, 1e-6, "fold");
    }
  }
}

TEST(Unfold, CountsWindows) {
  EXPECT_EQ(window_count({3, 1, 1, 0, 0}, 0), 0);
  EXPECT_EQ(window_count({3, 1, 1, 0, 0}, 2), 0);
  EXPECT_EQ(window_count({3, 1, 1, 0, 0}, 3), 1);
  EXPECT_EQ(window_count({3, 1, 1, 1, 1}, 9), 9);
  EXPECT_EQ(window_count({3, 2, 2, 4, 0}, 9), 5);
}

// The definition: seven loops in float64. Gives y, and from dy the gradients.
struct Plain {
  std::vector<double> y, dx, dw, db;
};
Plain plain(const Convolution2d& s, const std::vector<float>& x, const std::vector<float>& w,
            const std::vector<float>& b, const std::vector<float>& dy) {
  Plain p{std::vector<double>(dy.size()), std::vector<double>(x.size()), std::vector<double>(w.size()),
          std::vector<double>(b.size())};
  size_t at = 0;
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t oy = 0; oy < s.out_height(); ++oy) {
      for (int64_t ox = 0; ox < s.out_width(); ++ox) {
        for (int64_t o = 0; o < s.out_channels; ++o, ++at) {
          p.y[at] = static_cast<double>(b[static_cast<size_t>(o)]);
          p.db[static_cast<size_t>(o)] += static_cast<double>(dy[at]);
          for (int64_t c = 0; c < s.in_channels; ++c) {
            for (int64_t ky = 0; ky < s.kernel_h; ++ky) {
              for (int64_t kx = 0; kx < s.kernel_w; ++kx) {
                const int64_t iy = oy * s.stride_h + ky - s.pad_h, ix = ox * s.stride_w + kx - s.pad_w;
                if (iy < 0 || iy >= s.height || ix < 0 || ix >= s.width) continue;
                const auto i = static_cast<size_t>(((n * s.height + iy) * s.width + ix) * s.in_channels + c);
                const auto k =
                    static_cast<size_t>(((o * s.in_channels + c) * s.kernel_h + ky) * s.kernel_w + kx);
                p.y[at] += static_cast<double>(x[i]) * static_cast<double>(w[k]);
                p.dx[i] += static_cast<double>(dy[at]) * static_cast<double>(w[k]);
                p.dw[k] += static_cast<double>(dy[at]) * static_cast<double>(x[i]);
              }
            }
          }
        }
      }
    }
  }
  return p;
}

TEST(Conv2d, AgreesWithItsDefinition) {
  for (const Convolution2d& s :
       {Convolution2d{2, 7, 9, 3, 5, 3, 3, 1, 1, 1, 1}, Convolution2d{3, 8, 8, 1, 4, 4, 4, 4, 4, 0, 0},
        Convolution2d{1, 5, 6, 2, 3, 1, 2, 2, 1, 0, 1}, Convolution2d{1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0}}) {
    const std::vector<float> x = normals(s.batch * s.height * s.width * s.in_channels, 1);
    const std::vector<float> w = normals(s.out_channels * s.in_channels * s.kernel_h * s.kernel_w, 2);
    const std::vector<float> b = normals(s.out_channels, 3);
    const std::vector<float> dy = normals(s.batch * s.out_height() * s.out_width() * s.out_channels, 4);
    const Plain want = plain(s, x, w, b, dy);
    std::vector<float> y(dy.size()), dx(x.size()), dw(w.size(), 1.0f), db(b.size(), 1.0f);
    conv2d_forward(s, x.data(), w.data(), b.data(), y.data());
    conv2d_backward(s, x.data(), w.data(), dy.data(), dx.data(), dw.data(), db.data(), true);
    for (float& v : dw) v -= 1.0f;
    for (float& v : db) v -= 1.0f;
    // At most 126 terms near 1, rounded to 2^-24 of partial sums below 64.
    expect_close(y, want.y, 1e-6, 2e-5, "y");
    expect_close(dx, want.dx, 1e-6, 2e-5, "dx");
    expect_close(dw, want.dw, 1e-6, 5e-5, "dw");
    expect_close(db, want.db, 1e-6, 5e-5, "db");
  }
}

TEST(Conv2d, SameBitsForAnyNumberOfThreads) {
  const Convolution2d s{8, 16, 16, 4, 8, 3, 3, 1, 1, 1, 1};
  const std::vector<float> x = normals(8 * 256 * 4, 1), w = normals(8 * 4 * 9, 2),
                           dy = normals(8 * 256 * 8, 3);
  expect_thread_independent(
      [&] {
        std::vector<float> y(dy.size()), dx(x.size()), dw(w.size()), db(8);
        conv2d_forward(s, x.data(), w.data(), nullptr, y.data());
        conv2d_backward(s, x.data(), w.data(), dy.data(), dx.data(), dw.data(), db.data());
        for (const auto* part : {&dx, &dw, &db}) y.insert(y.end(), part->begin(), part->end());
        return y;
      },
      "conv2d");
}

TEST(MaxPool2d, TakesTheMaximumAndGivesItTheGradient) {
  const Convolution2d s{2, 5, 6, 3, 0, 2, 2, 2, 2, 1, 0};
  const std::vector<float> x = normals(2 * 30 * 3, 1);
  const auto outputs = static_cast<size_t>(2 * s.out_height() * s.out_width() * 3);
  std::vector<float> y(outputs), dy(outputs, 1.0f), dx(x.size());
  std::vector<int32_t> argmax(outputs);
  max_pool2d_forward(s, x.data(), y.data(), argmax.data());
  max_pool2d_backward(s, dy.data(), argmax.data(), dx.data());
  size_t at = 0;
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t oy = 0; oy < s.out_height(); ++oy) {
      for (int64_t ox = 0; ox < s.out_width(); ++ox) {
        for (int64_t c = 0; c < 3; ++c, ++at) {
          float top = -1e30f;
          for (int64_t k = 0; k < 4; ++k) {
            const int64_t iy = oy * 2 + k / 2 - 1, ix = ox * 2 + k % 2;
            if (iy < 0 || iy >= 5 || ix >= 6) continue;
            top = std::max(top, x[static_cast<size_t>(((n * 5 + iy) * 6 + ix) * 3 + c)]);
          }
          ASSERT_EQ(y[at], top);
          ASSERT_EQ(x[static_cast<size_t>((n * 30 + argmax[at]) * 3 + c)], top);
        }
      }
    }
  }
  EXPECT_EQ(std::accumulate(dx.begin(), dx.end(), 0.0f), static_cast<float>(outputs));
}

}  // namespace
}  // namespace fovea::kernels
