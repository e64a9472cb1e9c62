#include "fovea/kernels/matmul.hpp"

#include <utility>

#include "fovea/kernels/convert.hpp"
#include "fovea/kernels/transpose.hpp"
#include "kernels/matmul_tiles.hpp"
#include "tests/kernels/kernel_test.hpp"
#include "tests/reference/products.hpp"

namespace fovea::kernels {
namespace {

struct Case {
  int64_t m, n, k;
  bool ta = false, tb = false;
  int64_t pad = 0;  // extra elements a row
  bool bias = false, accumulate = false;
};

std::string name(const Case& c) {
  return "m " + std::to_string(c.m) + " n " + std::to_string(c.n) + " k " + std::to_string(c.k) +
         (c.ta ? " At" : "") + (c.tb ? " Bt" : "") + " pad " + std::to_string(c.pad) +
         (c.bias ? " bias" : "") + (c.accumulate ? " +=" : "");
}

struct Operands {
  Matmul spec;
  std::vector<float> a, b, c, bias;
};

Operands make(const Case& t) {
  Operands o;
  o.spec = {
      .m = t.m, .n = t.n, .k = t.k, .transpose_a = t.ta, .transpose_b = t.tb, .accumulate = t.accumulate};
  o.spec.lda = (t.ta ? t.m : t.k) + t.pad;
  o.spec.ldb = (t.tb ? t.k : t.n) + t.pad;
  o.spec.ldc = t.n + t.pad;
  o.a = normals((t.ta ? t.k : t.m) * o.spec.lda, 1);
  o.b = normals((t.tb ? t.n : t.k) * o.spec.ldb, 2);
  o.c = normals(t.m * o.spec.ldc, 3);
  o.bias = normals(t.n, 4);
  if (t.bias) o.spec.bias = o.bias.data();
  return o;
}

// A sum of k products in float32, in any order: each of at most k + 2 roundings errs by 2^-24 of Σ|a·b|.
void check(const Case& t) {
  Operands o = make(t);
  const std::vector<float> before = o.c;
  std::vector<double> want(o.c.begin(), o.c.end());
  std::vector<double> bound(o.c.size(), 0.0);
  reference::matmul(t.m, t.n, t.k, o.a.data(), t.ta, o.spec.lda, o.b.data(), t.tb, o.spec.ldb,
                    t.bias ? o.bias.data() : nullptr, t.accumulate, want.data(), bound.data(), o.spec.ldc);
  matmul(o.spec, o.a.data(), o.b.data(), o.c.data());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_LE(std::abs(static_cast<double>(o.c[i]) - want[i]),
              bound[i] * static_cast<double>(t.k + 2) * 0x1p-24)
        << name(t) << ", index " << i << ": got " << o.c[i] << ", expected " << want[i];
  }
}

TEST(Matmul, AgreesWithFloat64AtAwkwardSizes) {
  for (const int64_t m : {1, 3, 8, 17, 33, 65}) {
    for (const int64_t n : {1, 7, 16, 31, 64, 127}) {
      for (const int64_t k : {0, 1, 9, 32, 65}) {
        for (int options = 0; options < 16; ++options) {
          check({m, n, k, (options & 1) != 0, (options & 2) != 0, (options & 4) != 0 ? 5 : 0,
                 (options & 8) != 0, (options & 4) != 0});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Matmul, AgreesWithFloat64AtSizesThatAreCut) {
  for (const Case& t :
       {Case{768, 384, 128}, Case{1000, 65, 127, false, true}, Case{128, 384, 768, true},
        Case{300, 70, 129, false, true, 5, true}, Case{200, 300, 33, true, true, 1, false, true},
        Case{384, 1152, 1000, true, false, 3, false, true}, Case{2, 4096, 512, false, true, 0, true},
        Case{1, 3000, 384, false, false, 0, true}}) {
    check(t);
    if (HasFatalFailure()) return;
  }
}

TEST(Matmul, EmptySizesTouchNothing) {
  float c = 7.0f;
  matmul({.m = 0, .n = 1, .k = 1}, nullptr, nullptr, &c);
  matmul({.m = 1, .n = 0, .k = 1}, nullptr, nullptr, &c);
  EXPECT_EQ(c, 7.0f);
}

TEST(Matmul, SameBitsForAnyNumberOfThreads) {
  for (const Case& t :
       {Case{768, 384, 128}, Case{128, 512, 768, true}, Case{1000, 65, 127, false, true, 0, true},
        Case{1, 4096, 2048}, Case{3, 3000, 1000, false, true}, Case{2048, 384, 384}}) {
    Operands o = make(t);
    expect_thread_independent(
        [&] {
          std::vector<float> c = o.c;
          matmul(o.spec, o.a.data(), o.b.data(), c.data());
          return c;
        },
        name(t));
    if (HasFatalFailure()) return;
  }
}

// What other processors than x86-64 have for a product, against float64: one chain of k + 1 roundings.
TEST(MatmulTiles, AgreeWithFloat64AndTouchNothingElse) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t m : {1, 3, 8, 17, 65}) {
      for (const int64_t n : {1, 7, 16, 31, 32, 64, 127}) {
        for (const int64_t k : {1, 9, 32, 600}) {
          for (int options = 0; options < 8; ++options) {
            const Case t{m, n, k, (options & 1) != 0, (options & 2) != 0, 5, false, (options & 4) != 0};
            Operands o = make(t);
            std::vector<double> want(o.c.begin(), o.c.end());
            std::vector<double> bound(o.c.size(), 0.0);
            reference::matmul(m, n, k, o.a.data(), t.ta, o.spec.lda, o.b.data(), t.tb, o.spec.ldb, nullptr,
                              t.accumulate, want.data(), bound.data(), o.spec.ldc);
            tile_product(MatmulLayout(o.spec), m, n, o.a.data(), o.b.data(), t.accumulate, o.c.data());
            for (size_t i = 0; i < want.size(); ++i) {
              ASSERT_LE(std::abs(static_cast<double>(o.c[i]) - want[i]),
                        bound[i] * static_cast<double>(k + 2) * 0x1p-24)
                  << isa << ", " << name(t) << ", index " << i;
            }
          }
        }
      }
    }
  });
}

TEST(MatmulTiles, ABlockHasTheBitsOfTheWhole) {
  on_every_isa([](const std::string& isa) {
    for (int options = 0; options < 8; ++options) {
      const Case t{70, 90, 300, (options & 1) != 0, (options & 2) != 0, 3, false, (options & 4) != 0};
      Operands o = make(t);
      const MatmulLayout s(o.spec);
      std::vector<float> whole = o.c;
      tile_product(s, t.m, t.n, o.a.data(), o.b.data(), t.accumulate, whole.data());
      for (const auto& [row, rows] : {std::pair<int64_t, int64_t>{0, 1}, {5, 13}, {33, 37}}) {
        for (const auto& [col, cols] : {std::pair<int64_t, int64_t>{0, 3}, {16, 64}, {50, 40}}) {
          std::vector<float> part = o.c;
          tile_product(s, rows, cols, o.a.data() + s.offset_a(row), o.b.data() + s.offset_b(col),
                       t.accumulate, part.data() + row * s.ldc + col);
          for (int64_t i = row; i < row + rows; ++i) {
            const auto at = static_cast<size_t>(i * s.ldc + col);
            ASSERT_EQ(std::memcmp(&part[at], &whole[at], static_cast<size_t>(cols) * sizeof(float)), 0)
                << isa << ", " << name(t) << ", row " << i << " of a block at " << row << ", " << col;
          }
        }
      }
    }
  });
}

TEST(Transpose, MovesEveryElement) {
  on_every_isa([](const std::string& isa) {
    for (const int64_t rows : kSizes) {
      for (const int64_t cols : {0, 1, 3, 8, 16, 17, 65, 130}) {
        const std::vector<float> x = normals(rows * (cols + 3), 1);
        std::vector<float> out(static_cast<size_t>(cols * (rows + 5)));
        transpose(rows, cols, x.data(), cols + 3, out.data(), rows + 5);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < cols; ++c) {
            ASSERT_EQ(out[static_cast<size_t>(c * (rows + 5) + r)],
                      x[static_cast<size_t>(r * (cols + 3) + c)])
                << isa << " " << rows << " x " << cols << " at " << r << ", " << c;
          }
        }
      }
    }
  });
}

TEST(MatmulBf16, AgreesWithTheProductOfRoundedElements) {
  for (const Case& t : {Case{17, 33, 65}, Case{64, 128, 256, true}, Case{65, 31, 127, false, true, 3},
                        Case{128, 64, 33, true, true, 0, true, true}, Case{1, 1, 1}, Case{768, 384, 128}}) {
    Operands o = make(t);
    std::vector<BFloat16> a(o.a.size()), b(o.b.size());
    to_bf16(static_cast<int64_t>(a.size()), o.a.data(), a.data());
    to_bf16(static_cast<int64_t>(b.size()), o.b.data(), b.data());
    from_bf16(static_cast<int64_t>(a.size()), a.data(), o.a.data());
    from_bf16(static_cast<int64_t>(b.size()), b.data(), o.b.data());
    std::vector<double> want(o.c.begin(), o.c.end());
    std::vector<double> bound(o.c.size(), 0.0);
    reference::matmul(t.m, t.n, t.k, o.a.data(), t.ta, o.spec.lda, o.b.data(), t.tb, o.spec.ldb,
                      t.bias ? o.bias.data() : nullptr, t.accumulate, want.data(), bound.data(), o.spec.ldc);
    matmul_bf16(o.spec, a.data(), b.data(), o.c.data());
    for (size_t i = 0; i < want.size(); ++i) {
      // Products of bf16 are exact in float32; the sum errs as in float32.
      ASSERT_LE(std::abs(static_cast<double>(o.c[i]) - want[i]),
                bound[i] * static_cast<double>(t.k + 2) * 0x1p-23)
          << name(t) << ", index " << i;
    }
  }
}

// Of the sums in float32, rounded once: within half a unit of 2^-8 relative, beside float32's own error.
TEST(MatmulBf16, ResultsInBf16AreTheSumsRounded) {
  for (const Case& t :
       {Case{1, 1, 1}, Case{3, 5, 7}, Case{17, 33, 65, false, true, 0, true}, Case{127, 64, 33, true},
        Case{65, 31, 16, false, false, 5, true}, Case{768, 384, 128}, Case{9, 8, 0, false, false, 0, true}}) {
    Operands o = make(t);
    std::vector<BFloat16> a(o.a.size()), b(o.b.size()), c(o.c.size());
    to_bf16(static_cast<int64_t>(a.size()), o.a.data(), a.data());
    to_bf16(static_cast<int64_t>(b.size()), o.b.data(), b.data());
    const int threads = get_num_threads();
    matmul_bf16(o.spec, a.data(), b.data(), c.data());
    set_num_threads(3);
    std::vector<BFloat16> again(c.size());
    matmul_bf16(o.spec, a.data(), b.data(), again.data());
    set_num_threads(threads);
    matmul_bf16(o.spec, a.data(), b.data(), o.c.data());
    const int64_t ld = o.spec.ldc == 0 ? t.n : o.spec.ldc;
    for (int64_t i = 0; i < t.m; ++i) {
      for (int64_t j = 0; j < t.n; ++j) {
        const auto at = static_cast<size_t>(i * ld + j);
        // Sums of another order than those in float32 differ by their rounding, ε·Σ|a||b| a step.
        const float sum = o.c[at], slack = static_cast<float>(t.k + 2) * static_cast<float>(t.k) * 0x1p-23f;
        ASSERT_LE(std::abs(static_cast<float>(c[at]) - sum), std::abs(sum) * 0x1p-8f + slack)
            << name(t) << ", index " << at;
        ASSERT_EQ(c[at].bits, again[at].bits) << name(t) << ", index " << at;
      }
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
