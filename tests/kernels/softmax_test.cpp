#include "fovea/kernels/softmax.hpp"

#include <limits>

#include "tests/kernels/kernel_test.hpp"
#include "tests/reference/basics.hpp"

namespace fovea::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Softmax, AgreesWithFloat64) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t cols : kSizes) {
      const int64_t rows = 4;
      std::vector<float> x = normals(rows * cols, 1, 5.0);
      const std::vector<float> dy = normals(rows * cols, 2);
      if (cols > 2) x[1] = -kInf;
      const auto want = reference::softmax(static_cast<size_t>(rows), static_cast<size_t>(cols), widen(x));
      std::vector<float> y(x.size()), log_y(x.size()), dx(x.size()), log_dx(x.size()), lse(4);
      softmax(rows, cols, x.data(), y.data());
      softmax_backward(rows, cols, y.data(), dy.data(), dx.data());
      log_softmax(rows, cols, x.data(), log_y.data());
      log_softmax_backward(rows, cols, log_y.data(), dy.data(), log_dx.data());
      log_sum_exp(rows, cols, x.data(), lse.data());
      std::vector<double> want_log(x.size()), want_lse, want_dx(x.size()), want_log_dx(x.size());
      for (int64_t r = 0; r < rows; ++r) {
        const auto wide = widen({x.data() + r * cols, static_cast<size_t>(cols)});
        want_lse.push_back(reference::log_sum_exp(wide.size(), wide.data()));
        double dot = 0.0, total = 0.0;
        for (int64_t c = 0; c < cols; ++c) {
          const auto at = static_cast<size_t>(r * cols + c);
          dot += want[at] * static_cast<double>(dy[at]);
          total += static_cast<double>(dy[at]);
        }
        for (int64_t c = 0; c < cols; ++c) {
          const auto at = static_cast<size_t>(r * cols + c);
          want_log[at] = static_cast<double>(x[at]) - want_lse.back();
          want_dx[at] = want[at] * (static_cast<double>(dy[at]) - dot);
          want_log_dx[at] = static_cast<double>(dy[at]) - want[at] * total;
        }
      }
      // x - max is rounded at up to 2^-24·40, which the exponential makes a relative error of 2.4e-6.
      expect_close(y, want, 4e-6, 1e-30, isa + " softmax");
      expect_close(lse, want_lse, 1e-6, 1e-6, isa + " lse");
      expect_close(log_y, want_log, 1e-6, 2e-6, isa + " log softmax");
      expect_close(dx, want_dx, 1e-5, 1e-5, isa + " softmax gradient");
      // Σ dy is up to ~100 of terms near 1; exp(y) carries y's rounding.
      expect_close(log_dx, want_log_dx, 1e-5, 2e-4, isa + " log softmax gradient");
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

TEST(Softmax, EmptyRowIsZero) {
  on_every_isa([](const std::string& isa) {
    std::vector<float> x(33, -kInf), y(33, 1.0f), log_y(33);
    float lse = 0.0f;
    softmax(1, 33, x.data(), y.data());
    log_softmax(1, 33, x.data(), log_y.data());
    log_sum_exp(1, 33, x.data(), &lse);
    EXPECT_EQ(lse, -kInf) << isa;
    for (size_t i = 0; i < 33; ++i) {
      EXPECT_EQ(y[i], 0.0f) << isa;
      EXPECT_EQ(log_y[i], -kInf) << isa;
    }
  });
}

TEST(Softmax, RowsSumToOneAndShiftsDoNotMatter) {
  on_every_isa([](const std::string& isa) {
    std::vector<float> x = normals(127, 1), y(127), shifted(127);
    softmax(1, 127, x.data(), y.data());
    double total = 0.0;
    for (const float v : y) total += static_cast<double>(v);
    EXPECT_NEAR(total, 1.0, 1e-6) << isa;
    for (float& v : x) v += 64.0f;
    softmax(1, 127, x.data(), shifted.data());
    // Adding 64 rounds each score to 2^-18.
    expect_close(shifted, widen(y), 1e-5, 1e-9, isa);
  });
}

TEST(Softmax, NanShows) {
  on_every_isa([](const std::string& isa) {
    for (const float other : {0.0f, -kInf}) {
      std::vector<float> x(20, other), y(20);
      x[18] = std::numeric_limits<float>::quiet_NaN();
      softmax(1, 20, x.data(), y.data());
      EXPECT_TRUE(std::isnan(y[18])) << isa;
      float lse = 0.0f;
      log_sum_exp(1, 20, x.data(), &lse);
      EXPECT_TRUE(std::isnan(lse)) << isa;
    }
  });
}

TEST(CrossEntropy, AgreesWithFloat64) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t classes : kSizes) {
      if (classes == 0) continue;
      for (int options = 0; options < 4; ++options) {
        const int64_t rows = 6;
        const std::vector<float> x = normals(rows * classes, 1, 3.0);
        std::vector<float> weights = normals(classes, 2);
        for (float& w : weights) w = std::abs(w);
        CrossEntropy spec{.rows = rows, .classes = classes};
        if ((options & 1) != 0) spec.label_smoothing = 0.1f;
        if ((options & 2) != 0) spec.class_weights = weights.data();
        std::vector<int64_t> targets;
        std::vector<int32_t> narrow;
        for (int64_t r = 0; r < rows; ++r) {
          targets.push_back(r == 2 ? -100 : (r * 31) % classes);
          narrow.push_back(static_cast<int32_t>(targets.back()));
        }
        std::vector<double> want_loss(6), want_dx(x.size());
        double weight = 0.0;
        for (int64_t r = 0; r < rows; ++r) {
          if (r == 2) continue;
          const auto row = widen({x.data() + r * classes, static_cast<size_t>(classes)});
          const auto target = static_cast<size_t>(targets[static_cast<size_t>(r)]);
          want_loss[static_cast<size_t>(r)] = reference::cross_entropy(
              row.size(), row.data(), target, static_cast<double>(spec.label_smoothing),
              spec.class_weights == nullptr ? std::vector<double>{} : widen(weights),
              want_dx.data() + r * classes);
          weight += spec.class_weights == nullptr ? 1.0 : static_cast<double>(weights[target]);
        }
        for (double& v : want_dx) v *= 0.25;
        const std::string what =
            isa + " classes " + std::to_string(classes) + " options " + std::to_string(options);
        EXPECT_DOUBLE_EQ(cross_entropy_weight(spec, targets.data()), weight);
        EXPECT_DOUBLE_EQ(cross_entropy_weight(spec, narrow.data()), weight);
        std::vector<float> loss(6), lse(6), dx(x.size()), loss2(6), dx2 = x;
        cross_entropy_forward(spec, x.data(), targets.data(), loss.data(), lse.data());
        cross_entropy_backward(spec, x.data(), targets.data(), lse.data(), 0.25f, nullptr, dx.data());
        cross_entropy_forward_backward(spec, dx2.data(), narrow.data(), 0.25f, loss2.data(), dx2.data());
        // Smoothing sums 1000 logits of size 10 in float32.
        expect_close(loss, want_loss, 4e-6, 1e-5, what);
        expect_close(dx, want_dx, 4e-6, 1e-6, what);
        expect_same_bits(loss, loss2, what);
        expect_same_bits(dx, dx2, what);
        const std::vector<float> row_scale = {2.0f, 2.0f, 2.0f, 2.0f, 2.0f, 2.0f};
        cross_entropy_backward(spec, x.data(), narrow.data(), lse.data(), 0.125f, row_scale.data(),
                               dx2.data());
        expect_close(dx2, want_dx, 4e-6, 1e-6, what);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(Softmax, SameBitsForAnyNumberOfThreads) {
  on_every_isa([](const std::string& isa) {
    const std::vector<float> x = normals(2000 * 65, 1);
    std::vector<int64_t> targets(2000, 7);
    expect_thread_independent(
        [&] {
          std::vector<float> y(x.size()), loss(2000), dx(x.size());
          softmax(2000, 65, x.data(), y.data());
          cross_entropy_forward_backward({.rows = 2000, .classes = 65}, x.data(), targets.data(), 1.0f,
                                         loss.data(), dx.data());
          y.insert(y.end(), loss.begin(), loss.end());
          y.insert(y.end(), dx.begin(), dx.end());
          return y;
        },
        isa);
  });
}

}  // namespace
}  // namespace fovea::kernels
