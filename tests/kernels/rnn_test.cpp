// The cells against their definitions in float64, backward against central differences of those.
#include "fovea/kernels/rnn.hpp"

#include "tests/kernels/kernel_test.hpp"
#include "tests/reference/basics.hpp"

namespace fovea::kernels {
namespace {

using reference::sigmoid;

// One unit: gates i f g o, c before; gives h and c.
struct LstmUnit {
  double h, c;
};
LstmUnit lstm(const double (&x)[5]) {
  const double c = sigmoid(x[1]) * x[4] + sigmoid(x[0]) * std::tanh(x[2]);
  return {sigmoid(x[3]) * std::tanh(c), c};
}

// gx r z n, gh r z n, h before.
double gru(const double (&x)[7]) {
  const double r = sigmoid(x[0] + x[3]), z = sigmoid(x[1] + x[4]);
  return (1.0 - z) * std::tanh(x[2] + r * x[5]) + z * x[6];
}

TEST(LstmCell, ForwardAndBackwardFollowTheDefinition) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t hidden : kSizes) {
      const int64_t rows = 3;
      const auto width = static_cast<size_t>(hidden);
      const std::vector<float> x = normals(rows * 4 * hidden, 1), before = normals(rows * hidden, 2);
      const std::vector<float> dh = normals(rows * hidden, 3), dc = normals(rows * hidden, 4);
      std::vector<float> gates = x, c(before.size()), h(before.size()), dgates(x.size()),
                         dbefore(before.size());
      lstm_cell_forward(rows, hidden, gates.data(), before.data(), c.data(), h.data());
      lstm_cell_backward(rows, hidden, gates.data(), before.data(), c.data(), dh.data(), dc.data(),
                         dgates.data(), dbefore.data());
      for (size_t i = 0; i < before.size(); ++i) {
        const size_t r = i / width, j = i % width;
        double in[5] = {0, 0, 0, 0, static_cast<double>(before[i])};
        for (size_t g = 0; g < 4; ++g) in[g] = static_cast<double>(x[(r * 4 + g) * width + j]);
        const LstmUnit out = lstm(in);
        ASSERT_NEAR(h[i], out.h, 1e-6) << isa;
        ASSERT_NEAR(c[i], out.c, 2e-6) << isa;
        for (size_t g = 0; g < 5; ++g) {
          const double centre = in[g];
          in[g] = centre + 1e-5;
          const LstmUnit up = lstm(in);
          in[g] = centre - 1e-5;
          const LstmUnit down = lstm(in);
          in[g] = centre;
          const double want =
              (static_cast<double>(dh[i]) * (up.h - down.h) + static_cast<double>(dc[i]) * (up.c - down.c)) /
              2e-5;
          ASSERT_NEAR(g < 4 ? dgates[(r * 4 + g) * width + j] : dbefore[i], want,
                      5e-6 + 2e-6 * std::abs(want))
              << isa;
        }
      }
    }
  });
}

TEST(LstmCell, NoStateBeforeMeansZeros) {
  std::vector<float> x = normals(40, 1), y = x, zeros(10), c(10), h(10), c2(10), h2(10), dx(40), dx2(40);
  const std::vector<float> dh = normals(10, 2);
  lstm_cell_forward(1, 10, x.data(), nullptr, c.data(), h.data());
  lstm_cell_forward(1, 10, y.data(), zeros.data(), c2.data(), h2.data());
  expect_close(h, widen(h2), 1e-6, 1e-7, "h");
  lstm_cell_backward(1, 10, x.data(), nullptr, c.data(), dh.data(), nullptr, dx.data(), nullptr);
  lstm_cell_backward(1, 10, y.data(), zeros.data(), c2.data(), dh.data(), zeros.data(), dx2.data(), nullptr);
  expect_close(dx, widen(dx2), 1e-6, 1e-7, "dgates");
}

TEST(GruCell, ForwardAndBackwardFollowTheDefinition) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t hidden : kSizes) {
      const int64_t rows = 3;
      const auto width = static_cast<size_t>(hidden);
      const std::vector<float> x = normals(rows * 3 * hidden, 1), y = normals(rows * 3 * hidden, 2);
      const std::vector<float> before = normals(rows * hidden, 3), dh = normals(rows * hidden, 4);
      std::vector<float> gx = x, h(before.size()), dgx(x.size()), dgh(x.size()), dbefore(before.size());
      gru_cell_forward(rows, hidden, gx.data(), y.data(), before.data(), h.data());
      gru_cell_backward(rows, hidden, gx.data(), y.data(), before.data(), dh.data(), dgx.data(), dgh.data(),
                        dbefore.data());
      for (size_t i = 0; i < before.size(); ++i) {
        const size_t r = i / width, j = i % width;
        double in[7] = {0, 0, 0, 0, 0, 0, static_cast<double>(before[i])};
        for (size_t g = 0; g < 3; ++g) {
          in[g] = static_cast<double>(x[(r * 3 + g) * width + j]);
          in[g + 3] = static_cast<double>(y[(r * 3 + g) * width + j]);
        }
        ASSERT_NEAR(h[i], gru(in), 2e-6) << isa;
        for (size_t g = 0; g < 7; ++g) {
          const double centre = in[g];
          in[g] = centre + 1e-5;
          const double up = gru(in);
          in[g] = centre - 1e-5;
          const double want = static_cast<double>(dh[i]) * (up - gru(in)) / 2e-5;
          in[g] = centre;
          const float got = g < 3   ? dgx[(r * 3 + g) * width + j]
                            : g < 6 ? dgh[(r * 3 + g - 3) * width + j]
                                    : dbefore[i];
          ASSERT_NEAR(got, want, 5e-6 + 2e-6 * std::abs(want)) << isa << " input " << g;
        }
      }
    }
  });
}

}  // namespace
}  // namespace fovea::kernels
