#include "fovea/kernels/activation.hpp"

#include <limits>

#include "tests/kernels/kernel_test.hpp"
#include "tests/reference/basics.hpp"

namespace fovea::kernels {
namespace {

constexpr Activation kAll[] = {Activation::kRelu, Activation::kGelu,    Activation::kGeluTanh,
                               Activation::kSilu, Activation::kSigmoid, Activation::kTanh};

std::vector<float> over_the_range() {
  std::vector<float> x;
  for (double v = -15.0; v <= 15.0; v += 0.00113) x.push_back(static_cast<float>(v));
  for (const float v : {0.0f, 1e-20f, -1e-20f, 1e-4f, 40.0f, -40.0f, 80.0f, -80.0f, 1e30f}) x.push_back(v);
  return x;
}

// Errors stated in the header. In the negative tails the exponent's argument (x²/2, or GELU's cubic) is
// itself rounded to 2^-24 of up to ~100, which is why a relative error can only be had beside an absolute
// one.
TEST(Activation, ValuesAreAccurateOverTheRange) {
  const std::vector<float> x = over_the_range();
  on_every_isa([&](const std::string& isa) {
    for (const Activation act : kAll) {
      std::vector<double> want;
      for (const float v : x)
        want.push_back(reference::activation(static_cast<int>(act), static_cast<double>(v)));
      std::vector<float> y(x.size());
      activation_forward(act, static_cast<int64_t>(x.size()), x.data(), y.data());
      expect_close(y, want, 1e-6, 2e-7, isa + " activation " + std::to_string(static_cast<int>(act)));
    }
  });
}

TEST(Activation, SlopesAreAccurateOverTheRange) {
  const std::vector<float> x = over_the_range();
  const std::vector<float> dy = normals(static_cast<int64_t>(x.size()), 5);
  on_every_isa([&](const std::string& isa) {
    for (const Activation act : kAll) {
      const bool from_value = act == Activation::kSigmoid || act == Activation::kTanh;
      std::vector<float> y(x.size()), dx(x.size());
      const auto n = static_cast<int64_t>(x.size());
      activation_forward(act, n, x.data(), y.data());
      activation_backward(act, n, from_value ? nullptr : x.data(), from_value ? y.data() : nullptr, dy.data(),
                          dx.data());
      std::vector<double> want;
      for (size_t i = 0; i < x.size(); ++i) {
        want.push_back(static_cast<double>(dy[i]) *
                       reference::activation_slope(static_cast<int>(act), static_cast<double>(x[i])));
      }
      // 1 - tanh² near 1 and s(1 - s) near 1 keep 2^-23 absolute; times |dy| < 5.
      expect_close(dx, want, 2e-6, 2e-6, isa + " slope " + std::to_string(static_cast<int>(act)));
    }
  });
}

TEST(Activation, AccumulatesAndWorksAtEverySize) {
  on_every_isa([](const std::string& isa) {
    for (const Activation act : kAll) {
      for (const int64_t n : kSizes) {
        const std::vector<float> x = normals(n, 1), dy = normals(n, 2), start = normals(n, 3);
        std::vector<float> y(x.size()), dx(x.size()), sum = start;
        activation_forward(act, n, x.data(), y.data());
        activation_backward(act, n, x.data(), y.data(), dy.data(), dx.data());
        activation_backward(act, n, x.data(), y.data(), dy.data(), sum.data(), true);
        std::vector<double> want;
        for (size_t i = 0; i < dx.size(); ++i)
          want.push_back(static_cast<double>(start[i]) + static_cast<double>(dx[i]));
        expect_close(sum, want, 2e-7, 1e-6, isa);
        std::vector<float> in_place = x;
        activation_forward(act, n, in_place.data(), in_place.data());
        expect_same_bits(in_place, y, isa);
      }
    }
  });
}

TEST(Activation, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  on_every_isa([&](const std::string& isa) {
    for (const Activation act : kAll) {
      float y = 0.0f;
      activation_forward(act, 1, &nan, &y);
      EXPECT_TRUE(std::isnan(y)) << isa << " activation " << static_cast<int>(act);
    }
  });
}

TEST(Glu, AgreesWithItsParts) {
  on_every_isa([](const std::string& isa) {
    for (const Activation act : kAll) {
      for (const int64_t cols : kSizes) {
        const int64_t rows = 3;
        const std::vector<float> x = normals(rows * 2 * cols, 1), dy = normals(rows * cols, 2);
        std::vector<float> y(dy.size()), dx(x.size());
        glu_forward(act, rows, cols, x.data(), y.data());
        glu_backward(act, rows, cols, x.data(), dy.data(), dx.data());
        std::vector<double> want_y(y.size()), want_dx(dx.size());
        for (int64_t i = 0; i < rows * cols; ++i) {
          const auto gate = static_cast<size_t>(i / cols * 2 * cols + i % cols);
          const auto up = gate + static_cast<size_t>(cols);
          const auto at = static_cast<size_t>(i);
          const double g = x[gate], u = x[up], d = dy[at];
          want_y[at] = reference::activation(static_cast<int>(act), g) * u;
          want_dx[gate] = d * u * reference::activation_slope(static_cast<int>(act), g);
          want_dx[up] = d * reference::activation(static_cast<int>(act), g);
        }
        expect_close(y, want_y, 2e-6, 1e-6, isa);
        expect_close(dx, want_dx, 2e-6, 2e-6, isa);
      }
    }
  });
}

TEST(Activation, BackwardWithValueIsForwardAndBackwardInOne) {
  on_every_isa([](const std::string& isa) {
    for (const Activation act : kAll) {
      const bool reads_value = act == Activation::kSigmoid || act == Activation::kTanh;
      for (const int64_t n : kSizes) {
        const std::vector<float> x = normals(n, 1), dy = normals(n, 2);
        std::vector<float> y(x.size()), dx(x.size());
        activation_forward(act, n, x.data(), y.data());
        activation_backward(act, n, x.data(), y.data(), dy.data(), dx.data());
        std::vector<float> value = x, slope = dy;
        activation_backward_with_value(act, n, value.data(), slope.data(), value.data(), slope.data());
        expect_same_bits(value, y, isa);
        if (!reads_value) expect_same_bits(slope, dx, isa);

        const int64_t cols = n;
        const std::vector<float> pair = normals(3 * 2 * cols, 3), dpair = normals(3 * cols, 4);
        std::vector<float> gated(dpair.size()), dgated(pair.size());
        glu_forward(act, 3, cols, pair.data(), gated.data());
        glu_backward(act, 3, cols, pair.data(), dpair.data(), dgated.data());
        std::vector<float> in = pair, out = dpair;
        glu_backward_with_value(act, 3, cols, in.data(), out.data(), out.data(), in.data());
        expect_same_bits(out, gated, isa);
        expect_same_bits(in, dgated, isa);
      }
    }
  });
}

TEST(Activation, SameBitsForAnyNumberOfThreads) {
  on_every_isa([](const std::string& isa) {
    const std::vector<float> x = normals(100001, 1);
    expect_thread_independent(
        [&] {
          std::vector<float> y(x.size());
          activation_forward(Activation::kGelu, 100001, x.data(), y.data());
          return y;
        },
        isa);
  });
}

}  // namespace
}  // namespace fovea::kernels
