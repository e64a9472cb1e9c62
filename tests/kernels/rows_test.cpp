// Embedding rows, dropout, pooling over sequences.
#include "fovea/kernels/dropout.hpp"
#include "fovea/kernels/embedding.hpp"
#include "fovea/kernels/segments.hpp"
#include "tests/kernels/kernel_test.hpp"

namespace fovea::kernels {
namespace {

TEST(Embedding, GathersAndScattersEveryWidth) {
  for (const int64_t cols : kSizes) {
    const std::vector<float> table = normals(5 * cols, 1), dy = normals(7 * cols, 2);
    const std::vector<int64_t> ids = {4, 0, -1, 4, 2, 4, 0};
    const std::vector<int32_t> narrow(ids.begin(), ids.end());
    std::vector<float> out(dy.size(), 9.0f), out2 = out, grad(table.size(), 1.0f), grad2 = grad, want = grad;
    gather_rows(7, cols, table.data(), ids.data(), out.data());
    gather_rows(7, cols, table.data(), narrow.data(), out2.data());
    scatter_add_rows(7, cols, dy.data(), ids.data(), 5, grad.data());
    scatter_add_rows(7, cols, dy.data(), narrow.data(), 5, grad2.data());
    for (size_t i = 0; i < ids.size(); ++i) {
      for (size_t c = 0; c < static_cast<size_t>(cols); ++c) {
        const size_t at = i * static_cast<size_t>(cols) + c;
        const size_t row = static_cast<size_t>(std::max<int64_t>(0, ids[i])) * static_cast<size_t>(cols) + c;
        ASSERT_EQ(out[at], ids[i] < 0 ? 0.0f : table[row]);
        if (ids[i] >= 0) want[row] += dy[at];
      }
    }
    expect_same_bits(out, out2, "ids");
    expect_same_bits(grad, want, "scatter");
    expect_same_bits(grad2, want, "scatter");
  }
}

TEST(Embedding, SameBitsForAnyNumberOfThreads) {
  const std::vector<float> dy = normals(5000 * 200, 1);
  std::vector<int32_t> ids(5000);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * i % 97);
  expect_thread_independent(
      [&] {
        std::vector<float> grad(97 * 200);
        scatter_add_rows(5000, 200, dy.data(), ids.data(), 97, grad.data());
        return grad;
      },
      "scatter");
}

TEST(Dropout, FollowsTheStreamsWords) {
  // A block index that wraps the counter's low word cannot be reached with few elements; seeds of all bits
  // can.
  const RandomKey key{0xFEDCBA9876543210u, 0x0123456789ABCDEFu};
  on_every_isa([&](const std::string& isa) {
    for (const int64_t n : kSizes) {
      const std::vector<float> x = normals(n, 1), residual = normals(n, 2);
      std::vector<float> out(x.size()), added(x.size()), uniform(x.size());
      dropout(n, 0.3f, key, x.data(), out.data());
      dropout_add(n, 0.3f, key, x.data(), residual.data(), added.data());
      random_uniform(n, key, -1.0f, 1.0f, uniform.data());
      const auto least = static_cast<uint32_t>(static_cast<double>(0.3f) * 0x1p32);
      for (size_t i = 0; i < x.size(); ++i) {
        const uint32_t word = key.block(i / 4)[i % 4];
        const float want = word >= least ? x[i] * (1.0f / (1.0f - 0.3f)) : 0.0f;
        ASSERT_EQ(out[i], want) << isa << " " << i;
        ASSERT_EQ(added[i], want + residual[i]) << isa << " " << i;
        ASSERT_NEAR(uniform[i], -1.0f + 2.0f * (static_cast<float>(word >> 8) * 0x1p-24f), 1e-7f)
            << isa << " " << i;
      }
    }
  });
}

TEST(Dropout, KeepsTheExpectedShareAndCopiesAtZero) {
  const std::vector<float> x(100000, 1.0f);
  std::vector<float> out(x.size());
  dropout(100000, 0.1f, {1, 2}, x.data(), out.data());
  int64_t kept = 0;
  for (const float v : out) kept += v != 0.0f;
  EXPECT_NEAR(static_cast<double>(kept), 90000.0, 5.0 * std::sqrt(9000.0));  // five standard deviations
  dropout(100000, 0.0f, {1, 2}, x.data(), out.data());
  expect_same_bits(out, x, "p 0");
}

TEST(Dropout, DropsWholeRows) {
  const RandomKey key{3, 4};
  const std::vector<float> x(40 * 5, 1.0f);
  std::vector<float> out(x.size());
  dropout_rows(40, 5, 0.5f, key, x.data(), out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t r = i / 5;
    EXPECT_EQ(out[i], key.block(r / 4)[r % 4] >= 0x80000000u ? 2.0f : 0.0f) << i;
  }
}

TEST(Dropout, SameBitsForAnyNumberOfThreads) {
  const std::vector<float> x = normals(100003, 1);
  on_every_isa([&](const std::string& isa) {
    expect_thread_independent(
        [&] {
          std::vector<float> out(x.size());
          dropout(100003, 0.25f, {5, 6}, x.data(), out.data());
          return out;
        },
        isa);
  });
}

class Segments : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Widths, Segments, testing::ValuesIn(kSizes));

TEST_P(Segments, PoolAndSpreadAsDefined) {
  const int64_t cols = GetParam();
  const std::vector<int64_t> offsets = {0, 3, 3, 4, 11};
  const std::vector<float> x = normals(11 * cols, 1), dy = normals(4 * cols, 2), w = normals(11, 3);
  const auto width = static_cast<size_t>(cols);
  std::vector<float> sums(dy.size()), means(dy.size()), maxima(dy.size()), weighted(dy.size());
  std::vector<int64_t> argmax(dy.size());
  std::vector<float> dsum(x.size(), 1.0f), dmean(x.size(), 1.0f), dmax(x.size(), 1.0f), dweighted(x.size()),
      dw(11);
  segment_sum_forward(4, cols, offsets.data(), x.data(), sums.data());
  segment_mean_forward(4, cols, offsets.data(), x.data(), means.data());
  segment_max_forward(4, cols, offsets.data(), x.data(), maxima.data(), argmax.data());
  segment_weighted_sum_forward(4, cols, offsets.data(), w.data(), x.data(), weighted.data());
  segment_sum_backward(4, cols, offsets.data(), dy.data(), dsum.data());
  segment_mean_backward(4, cols, offsets.data(), dy.data(), dmean.data(), true);
  segment_max_backward(4, cols, offsets.data(), dy.data(), argmax.data(), dmax.data(), true);
  segment_weighted_sum_backward(4, cols, offsets.data(), w.data(), x.data(), dy.data(), dweighted.data(),
                                dw.data());
  for (size_t s = 0; s < 4; ++s) {
    const auto first = static_cast<size_t>(offsets[s]), last = static_cast<size_t>(offsets[s + 1]);
    for (size_t c = 0; c < width; ++c) {
      double total = 0.0, mix = 0.0;
      size_t best = first;
      for (size_t r = first; r < last; ++r) {
        total += static_cast<double>(x[r * width + c]);
        mix += static_cast<double>(w[r]) * static_cast<double>(x[r * width + c]);
        if (x[r * width + c] > x[best * width + c]) best = r;
      }
      const size_t at = s * width + c;
      const double length = static_cast<double>(last - first);
      ASSERT_NEAR(sums[at], total, 1e-5);
      ASSERT_NEAR(means[at], first == last ? 0.0 : total / length, 1e-5);
      ASSERT_NEAR(weighted[at], mix, 1e-5);
      ASSERT_EQ(argmax[at], first == last ? -1 : static_cast<int64_t>(best));
      ASSERT_EQ(maxima[at], first == last ? 0.0f : x[best * width + c]);
      for (size_t r = first; r < last; ++r) {
        ASSERT_EQ(dsum[r * width + c], dy[at]);
        ASSERT_NEAR(dmean[r * width + c], 1.0 + static_cast<double>(dy[at]) / length, 1e-6);
        ASSERT_EQ(dmax[r * width + c], r == best ? 1.0f + dy[at] : 1.0f);
        ASSERT_EQ(dweighted[r * width + c], w[r] * dy[at]);
      }
    }
    for (size_t r = first; r < last; ++r) {
      double dot = 0.0;
      for (size_t c = 0; c < width; ++c)
        dot += static_cast<double>(x[r * width + c]) * static_cast<double>(dy[s * width + c]);
      ASSERT_NEAR(dw[r], dot, 1e-4);
    }
  }
}

TEST(SegmentSoftmax, RunsWithinEachSequence) {
  const std::vector<int64_t> offsets = {0, 3, 3, 4, 11};
  const std::vector<float> x = normals(11, 1), dy = normals(11, 2);
  std::vector<float> y(11), dx(11);
  segment_softmax_forward(4, offsets.data(), x.data(), y.data());
  segment_softmax_backward(4, offsets.data(), y.data(), dy.data(), dx.data());
  for (size_t s = 0; s < 4; ++s) {
    double total = 0.0, dot = 0.0;
    for (auto r = static_cast<size_t>(offsets[s]); r < static_cast<size_t>(offsets[s + 1]); ++r) {
      total += std::exp(static_cast<double>(x[r]));
      dot += static_cast<double>(y[r]) * static_cast<double>(dy[r]);
    }
    for (auto r = static_cast<size_t>(offsets[s]); r < static_cast<size_t>(offsets[s + 1]); ++r) {
      EXPECT_NEAR(y[r], std::exp(static_cast<double>(x[r])) / total, 1e-6);
      EXPECT_NEAR(dx[r], static_cast<double>(y[r]) * (static_cast<double>(dy[r]) - dot), 1e-6);
    }
  }
}

}  // namespace
}  // namespace fovea::kernels
