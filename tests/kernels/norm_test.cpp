#include "fovea/kernels/norm.hpp"

#include "tests/kernels/kernel_test.hpp"
#include "tests/reference/basics.hpp"

namespace fovea::kernels {
namespace {

constexpr float kEps = 1e-5f;

struct Sizes {
  int64_t rows, cols;
};
std::vector<Sizes> all_sizes() {
  std::vector<Sizes> out;
  for (const int64_t cols : kSizes) {
    if (cols > 0) out.push_back({5, cols});
  }
  out.push_back({0, 16});
  out.push_back({200, 33});
  return out;
}

struct Outcome {
  std::vector<float> y, mean, rstd, dx, dgamma, dbeta;
};

Outcome run(const Sizes& s, bool centred, bool affine, const std::vector<float>& x,
            const std::vector<float>& gamma, const std::vector<float>& beta, const std::vector<float>& dy,
            bool accumulate = false) {
  Outcome r{std::vector<float>(x.size()),
            std::vector<float>(static_cast<size_t>(s.rows)),
            std::vector<float>(static_cast<size_t>(s.rows)),
            std::vector<float>(x.size(), 0.5f),
            std::vector<float>(static_cast<size_t>(s.cols), 1.0f),
            std::vector<float>(static_cast<size_t>(s.cols), 2.0f)};
  const float* g = affine ? gamma.data() : nullptr;
  if (centred) {
    layer_norm_forward(s.rows, s.cols, x.data(), g, affine ? beta.data() : nullptr, kEps, r.y.data(),
                       r.mean.data(), r.rstd.data());
    layer_norm_backward(s.rows, s.cols, x.data(), g, r.mean.data(), r.rstd.data(), dy.data(), r.dx.data(),
                        affine ? r.dgamma.data() : nullptr, affine ? r.dbeta.data() : nullptr, accumulate);
  } else {
    rms_norm_forward(s.rows, s.cols, x.data(), g, kEps, r.y.data(), r.rstd.data());
    rms_norm_backward(s.rows, s.cols, x.data(), g, r.rstd.data(), dy.data(), r.dx.data(),
                      affine ? r.dgamma.data() : nullptr, accumulate);
  }
  return r;
}

TEST(Norm, ApplyGivesTheForwardsBitsAgain) {
  on_every_isa([](const std::string& isa) {
    for (const Sizes& s : all_sizes()) {
      for (int options = 0; options < 8; ++options) {
        const bool centred = (options & 1) != 0;
        const std::vector<float> x = normals(s.rows * s.cols, 1);
        const std::vector<float> gamma = normals(s.cols, 3), beta = normals(s.cols, 4);
        const float* g = (options & 2) != 0 ? gamma.data() : nullptr;
        const float* b = centred && (options & 4) != 0 ? beta.data() : nullptr;
        std::vector<float> y(x.size()), again(x.size()), mean(static_cast<size_t>(s.rows)), rstd(mean.size());
        if (centred) {
          layer_norm_forward(s.rows, s.cols, x.data(), g, b, kEps, y.data(), mean.data(), rstd.data());
        } else {
          rms_norm_forward(s.rows, s.cols, x.data(), g, kEps, y.data(), rstd.data());
        }
        norm_apply(s.rows, s.cols, x.data(), g, b, centred ? mean.data() : nullptr, rstd.data(),
                   again.data());
        EXPECT_EQ(y, again) << isa << ", " << s.rows << " x " << s.cols << ", options " << options;
      }
    }
  });
}

TEST(Norm, ForwardAndBackwardAgreeWithFloat64) {
  on_every_isa([](const std::string& isa) {
    for (const Sizes& s : all_sizes()) {
      for (int options = 0; options < 8; ++options) {
        const bool centred = (options & 1) != 0, affine = (options & 2) != 0, accumulate = (options & 4) != 0;
        const std::vector<float> x = normals(s.rows * s.cols, 1), dy = normals(s.rows * s.cols, 2);
        const std::vector<float> gamma = normals(s.cols, 3), beta = normals(s.cols, 4);
        const auto rows = static_cast<size_t>(s.rows), cols = static_cast<size_t>(s.cols);
        const auto wide_gamma = affine ? widen(gamma) : std::vector<double>{};
        const auto f = reference::norm(rows, cols, widen(x), wide_gamma,
                                       affine && centred ? widen(beta) : std::vector<double>{},
                                       static_cast<double>(kEps), centred);
        auto g = reference::norm_gradient(rows, cols, widen(x), wide_gamma, f, widen(dy), centred);
        const Outcome got = run(s, centred, affine, x, gamma, beta, dy, accumulate);
        // Two values a row can lie so near that rstd reaches 316, which multiplies the rounding of x - mean
        // (2^-24·3).
        double steepest = 1.0;
        for (const double r : f.rstd) steepest = std::max(steepest, r);
        const double absolute = 4e-6 * steepest;
        const std::string what =
            isa + " cols " + std::to_string(s.cols) + " options " + std::to_string(options);
        expect_close(got.y, f.y, 2e-6, absolute, what + " y");
        expect_close(got.rstd, f.rstd, 2e-6 * steepest, 1e-6, what + " rstd");
        if (accumulate) {
          for (double& v : g.dx) v += 0.5;
        }
        expect_close(got.dx, g.dx, 4e-6, absolute * steepest, what + " dx");
        if (affine) {
          for (double& v : g.dgamma) v += 1.0;
          expect_close(got.dgamma, g.dgamma, 4e-6, absolute * (1.0 + static_cast<double>(s.rows) / 16.0),
                       what + " dgamma");
          if (centred) {
            for (double& v : g.dbeta) v += 2.0;
            expect_close(got.dbeta, g.dbeta, 4e-6, absolute * (1.0 + static_cast<double>(s.rows) / 16.0),
                         what + " dbeta");
          }
        }
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  });
}

TEST(Norm, FusedAdditionEqualsItsParts) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t cols : {1, 7, 33, 128}) {
      const std::vector<float> x = normals(6 * cols, 1), other = normals(6 * cols, 2),
                               gamma = normals(cols, 3);
      std::vector<float> total(x.size()), y(x.size()), sum(x.size()), fused(x.size()), rstd(6), rstd2(6),
          mean(6), mean2(6);
      for (size_t i = 0; i < x.size(); ++i) total[i] = x[i] + other[i];
      layer_norm_forward(6, cols, total.data(), gamma.data(), nullptr, kEps, y.data(), mean.data(),
                         rstd.data());
      add_layer_norm_forward(6, cols, x.data(), other.data(), gamma.data(), nullptr, kEps, sum.data(),
                             fused.data(), mean2.data(), rstd2.data());
      expect_same_bits(sum, total, isa);
      expect_same_bits(fused, y, isa);
      expect_same_bits(mean, mean2, isa);
      rms_norm_forward(6, cols, total.data(), gamma.data(), kEps, y.data(), rstd.data());
      add_rms_norm_forward(6, cols, x.data(), other.data(), gamma.data(), kEps, sum.data(), fused.data(),
                           rstd2.data());
      expect_same_bits(fused, y, isa);
      expect_same_bits(rstd, rstd2, isa);
    }
  });
}

TEST(Norm, LargeCommonOffsetCostsNoDigits) {
  on_every_isa([](const std::string& isa) {
    std::vector<float> x(256);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 4096.0f + (i % 2 == 0 ? 1.0f : -1.0f);
    std::vector<float> y(256);
    layer_norm_forward(1, 256, x.data(), nullptr, nullptr, 0.0f, y.data(), nullptr, nullptr);
    for (size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], i % 2 == 0 ? 1.0f : -1.0f, 1e-6f) << isa;
  });
}

TEST(Norm, SameBitsForAnyNumberOfThreads) {
  on_every_isa([](const std::string& isa) {
    const Sizes s{3000, 65};
    const std::vector<float> x = normals(s.rows * s.cols, 1), dy = normals(s.rows * s.cols, 2);
    const std::vector<float> gamma = normals(s.cols, 3), beta = normals(s.cols, 4);
    expect_thread_independent(
        [&] {
          Outcome r = run(s, true, true, x, gamma, beta, dy);
          for (const auto* part : {&r.dx, &r.dgamma, &r.dbeta})
            r.y.insert(r.y.end(), part->begin(), part->end());
          return r.y;
        },
        isa);
  });
}

}  // namespace
}  // namespace fovea::kernels
