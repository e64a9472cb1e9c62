#include "fovea/kernels/elementwise.hpp"

#include <algorithm>
#include <limits>

#include "tests/kernels/kernel_test.hpp"

namespace fovea::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// One elementwise operation on two inputs, and its float64 definition.
struct Operation {
  const char* name;
  void (*run)(int64_t n, const float* a, const float* b, float* out);
  double (*define)(double a, double b, double out);
};

const Operation kOperations[] = {
    {"add", add, [](double a, double b, double) { return a + b; }},
    {"subtract", subtract, [](double a, double b, double) { return a - b; }},
    {"multiply", multiply, [](double a, double b, double) { return a * b; }},
    {"divide", divide, [](double a, double b, double) { return a / b; }},
    {"maximum", maximum, [](double a, double b, double) { return a > b ? a : b; }},
    {"multiply_add", multiply_add, [](double a, double b, double out) { return out + a * b; }},
    {"axpy", [](int64_t n, const float* a, const float*, float* out) { axpy(n, 0.75f, a, out); },
     [](double a, double, double out) { return out + 0.75 * a; }},
    {"scale", [](int64_t n, const float* a, const float*, float* out) { scale(n, -3.5f, a, out); },
     [](double a, double, double) { return -3.5 * a; }},
    {"add_scalar", [](int64_t n, const float* a, const float*, float* out) { add_scalar(n, 2.25f, a, out); },
     [](double a, double, double) { return a + 2.25; }},
    {"interpolate",
     [](int64_t n, const float* a, const float*, float* out) { interpolate(n, 0.125f, a, out); },
     [](double a, double, double out) { return out + 0.125 * (a - out); }},
    {"fill", [](int64_t n, const float*, const float*, float* out) { fill(n, 1.5f, out); },
     [](double, double, double) { return 1.5; }},
    {"copy", [](int64_t n, const float* a, const float*, float* out) { copy(n, a, out); },
     [](double a, double, double) { return a; }},
    {"clamp", [](int64_t n, const float* a, const float*, float* out) { clamp(n, -0.5f, 0.75f, a, out); },
     [](double a, double, double) { return std::min(std::max(a, -0.5), 0.75); }},
    {"exp", [](int64_t n, const float* a, const float*, float* out) { exp(n, a, out); },
     [](double a, double, double) { return std::exp(a); }},
    {"log", [](int64_t n, const float* a, const float*, float* out) { log(n, a, out); },
     [](double a, double, double) { return std::log(a); }},
    {"sqrt", [](int64_t n, const float* a, const float*, float* out) { sqrt(n, a, out); },
     [](double a, double, double) { return std::sqrt(a); }},
};

TEST(Elementwise, AgreesWithFloat64AndStaysInsideItsArrays) {
  on_every_isa([](const std::string& isa) {
    for (const Operation& op : kOperations) {
      for (const int64_t n : kSizes) {
        for (const int64_t shift : {0, 1, 3}) {  // misaligned by as many floats
          std::vector<float> a = normals(n + shift, 1), b = normals(n + shift, 2),
                             out = normals(n + shift + 1, 3);
          std::vector<double> want(out.begin() + shift, out.begin() + shift + n);
          for (int64_t i = 0; i < n; ++i) {
            const auto at = static_cast<size_t>(i + shift);
            want[static_cast<size_t>(i)] = op.define(a[at], b[at], want[static_cast<size_t>(i)]);
          }
          const float beyond = out.back();
          op.run(n, a.data() + shift, b.data() + shift, out.data() + shift);
          // Each is one or two roundings (2^-24 each, of terms up to 20 where they cancel); exp and log 2e-7.
          expect_close({out.data() + shift, static_cast<size_t>(n)}, want, 3e-7, 2e-6, isa + " " + op.name);
          EXPECT_EQ(out.back(), beyond) << op.name;
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  });
}

TEST(Elementwise, WorksInPlace) {
  on_every_isa([](const std::string& isa) {
    std::vector<float> a = normals(1000, 1), b = normals(1000, 2), out(1000);
    multiply(1000, a.data(), b.data(), out.data());
    multiply(1000, a.data(), b.data(), a.data());
    expect_same_bits(a, out, isa);
  });
}

TEST(Elementwise, SameBitsForAnyNumberOfThreads) {
  on_every_isa([](const std::string& isa) {
    const std::vector<float> a = normals(100001, 1), b = normals(100001, 2), start = normals(100001, 3);
    for (const Operation& op : kOperations) {
      expect_thread_independent(
          [&] {
            std::vector<float> out = start;
            op.run(100001, a.data(), b.data(), out.data());
            return out;
          },
          isa + " " + op.name);
    }
  });
}

// The whole range in steps: 2e-7 relative where the result is a normal number.
TEST(Exp, IsAccurateOverItsRange) {
  std::vector<float> x;
  for (double v = -110.0; v < 95.0; v += 0.00137) x.push_back(static_cast<float>(v));
  for (const float v :
       {0.0f, -0.0f, kInf, -kInf, kNan, 88.72f, 88.73f, -87.33f, -103.0f, -105.0f, 1e30f, -1e30f, 1e-30f}) {
    x.push_back(v);
  }
  std::vector<double> want;
  for (const float v : x) {
    const double y = std::exp(static_cast<double>(v));
    want.push_back(y > static_cast<double>(std::numeric_limits<float>::max()) ? static_cast<double>(kInf)
                                                                              : y);
  }
  on_every_isa([&](const std::string& isa) {
    std::vector<float> y(x.size());
    exp(static_cast<int64_t>(x.size()), x.data(), y.data());
    expect_close(y, want, 2e-7, 0x1p-148, isa);
  });
}

TEST(Log, HandlesTheEndsOfItsRange) {
  const std::vector<float> x = {0.0f, 1.0f, kInf, kNan, -1.0f, -kInf, 1e-38f, 3e38f, 2.718281828f};
  std::vector<double> want;
  for (const float v : x) want.push_back(std::log(static_cast<double>(v)));
  on_every_isa([&](const std::string& isa) {
    std::vector<float> y(x.size());
    log(static_cast<int64_t>(x.size()), x.data(), y.data());
    expect_close(y, want, 3e-7, 1e-7, isa);
  });
}

TEST(Rows, BroadcastsAndStridesAreAsStated) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t cols : kSizes) {
      const int64_t rows = 5;
      const std::vector<float> x = normals(rows * cols, 1), v = normals(cols, 2), s = normals(rows, 3);
      std::vector<float> sum(x.size()), columns(x.size()), scaled(x.size()),
          wide(static_cast<size_t>(rows * (cols + 3)));
      add_row(rows, cols, x.data(), v.data(), sum.data());
      scale_columns(rows, cols, x.data(), v.data(), columns.data());
      scale_rows(rows, cols, x.data(), s.data(), scaled.data());
      copy_rows(rows, cols, x.data(), cols, wide.data(), cols + 3);
      add_rows(rows, cols, x.data(), cols, wide.data(), cols + 3);
      for (int64_t i = 0; i < rows * cols; ++i) {
        const auto at = static_cast<size_t>(i);
        const auto c = static_cast<size_t>(i % cols), r = static_cast<size_t>(i / cols);
        ASSERT_EQ(sum[at], x[at] + v[c]) << isa;
        ASSERT_EQ(columns[at], x[at] * v[c]) << isa;
        ASSERT_EQ(scaled[at], x[at] * s[r]) << isa;
        ASSERT_EQ(wide[r * static_cast<size_t>(cols + 3) + c], 2.0f * x[at]) << isa;
      }
      for (int64_t r = 0; r < rows; ++r)
        ASSERT_EQ(wide[static_cast<size_t>(r * (cols + 3) + cols)], 0.0f) << isa;
    }
  });
}

}  // namespace
}  // namespace fovea::kernels
