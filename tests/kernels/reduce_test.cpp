#include "fovea/kernels/reduce.hpp"

#include <limits>

#include "fovea/kernels/convert.hpp"
#include "tests/kernels/kernel_test.hpp"

namespace fovea::kernels {
namespace {

TEST(Reduce, SumsAgreeWithFloat64) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65, 127, 1000, 4095, 4096, 4097, 50000}) {
      const std::vector<float> a = normals(n, 1), b = normals(n, 2);
      double s = 0.0, d = 0.0, q = 0.0, s_size = 0.0, d_size = 0.0, top = 0.0;
      for (size_t i = 0; i < a.size(); ++i) {
        const double x = a[i], y = b[i];
        s += x, d += x * y, q += x * x;
        s_size += std::abs(x), d_size += std::abs(x * y);
        top = std::max(top, std::abs(x));
      }
      // Chunks of 4096 in at least 4 accumulators: at most 1024 + 4 additions in float32 one after another.
      EXPECT_NEAR(sum(n, a.data()), s, s_size * 1028 * 0x1p-24) << isa << " " << n;
      EXPECT_NEAR(dot(n, a.data(), b.data()), d, d_size * 1029 * 0x1p-24) << isa << " " << n;
      EXPECT_NEAR(squared_norm(n, a.data()), q, q * 1029 * 0x1p-24) << isa << " " << n;
      EXPECT_EQ(static_cast<double>(max_abs(n, a.data())), top) << isa << " " << n;
      EXPECT_TRUE(all_finite(n, a.data())) << isa << " " << n;
    }
  });
}

TEST(Reduce, FindsWhatIsNotFinite) {
  on_every_isa([](const std::string& isa) {
    for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
      for (const int64_t at : {0, 17, 999, 40000, 49999}) {
        std::vector<float> x = normals(50000, 1);
        x[static_cast<size_t>(at)] = bad;
        EXPECT_FALSE(all_finite(50000, x.data())) << isa << " " << bad << " at " << at;
        EXPECT_EQ(std::isnan(max_abs(50000, x.data())), std::isnan(bad)) << isa;
      }
    }
  });
}

TEST(Reduce, ColumnsAndRowsAgreeWithFloat64) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t rows : {0, 1, 7, 63, 64, 65, 200}) {
      for (const int64_t cols : kSizes) {
        const std::vector<float> x = normals(rows * (cols + 2), 1), y = normals(rows * cols, 2);
        std::vector<float> columns(static_cast<size_t>(cols), 1.0f), sums(static_cast<size_t>(rows)),
            dots = sums;
        column_sums(rows, cols, x.data(), columns.data(), true, cols + 2);
        row_sums(rows, cols, x.data(), sums.data());
        row_dots(rows, cols, x.data(), y.data(), dots.data());
        std::vector<double> want(static_cast<size_t>(cols), 1.0), want_sums(sums.size()),
            want_dots(sums.size());
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < cols; ++c) {
            want[static_cast<size_t>(c)] += static_cast<double>(x[static_cast<size_t>(r * (cols + 2) + c)]);
            const auto at = static_cast<size_t>(r * cols + c);
            want_sums[static_cast<size_t>(r)] += static_cast<double>(x[at]);
            want_dots[static_cast<size_t>(r)] += static_cast<double>(x[at]) * static_cast<double>(y[at]);
          }
        }
        // Up to 1000 terms of mean size 0.8, each partial sum rounded to 2^-24 of at most ~100.
        expect_close(columns, want, 1e-6, 1e-4, isa + " columns");
        expect_close(sums, want_sums, 1e-6, 3e-4, isa + " rows");
        expect_close(dots, want_dots, 1e-6, 3e-4, isa + " dots");
        if (testing::Test::HasFatalFailure()) return;
      }
    }
    std::vector<float> out(8, 3.0f);
    column_sums(0, 8, static_cast<const float*>(nullptr), out.data());
    for (const float v : out) EXPECT_EQ(v, 0.0f);
  });
}

TEST(Reduce, ColumnsOfBf16AreThoseOfTheSameNumbersInFloat32) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t rows : {0, 1, 7, 64, 65, 200}) {
      for (const int64_t cols : kSizes) {
        std::vector<float> x = normals(rows * (cols + 3), 1);
        std::vector<BFloat16> half(x.size());
        to_bf16(static_cast<int64_t>(x.size()), x.data(), half.data());
        from_bf16(static_cast<int64_t>(x.size()), half.data(), x.data());
        std::vector<float> want(static_cast<size_t>(cols), 1.0f), got = want;
        column_sums(rows, cols, x.data(), want.data(), true, cols + 3);
        column_sums(rows, cols, half.data(), got.data(), true, cols + 3);
        for (size_t c = 0; c < got.size(); ++c) ASSERT_EQ(got[c], want[c]) << isa << " " << rows << " " << c;
      }
    }
  });
}

TEST(Reduce, SameBitsForAnyNumberOfThreads) {
  on_every_isa([](const std::string& isa) {
    const std::vector<float> x = normals(300000, 1);
    expect_thread_independent(
        [&] {
          std::vector<float> out(300);
          column_sums(1000, 300, x.data(), out.data());
          for (const double v : {sum(300000, x.data()), squared_norm(300000, x.data())}) {
            out.push_back(static_cast<float>(v));
            out.push_back(static_cast<float>(v - static_cast<double>(static_cast<float>(v))));
          }
          out.push_back(max_abs(300000, x.data()));
          return out;
        },
        isa);
  });
}

}  // namespace
}  // namespace fovea::kernels
