// Decoding in 16 bits: queries of low precision on bf16 and int8 caches.
//
// Tolerances beside those of decode_problem.hpp. bf16: queries are bf16 numbers here, so that scores are as
// exact as in float32, and weights are rounded by 2^-8 of themselves at most: 2^-8·max|v|. int8: a query's
// number is off by max|q| / 65534 at most, a score by scale·√D·max|q| / 65534·|k|, a weight times the scale
// of its value by 1 / 65534 of the greatest such of its tile, an output by Lk·max w·max|v| / 65534.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fovea/attention/plan.hpp"
#include "fovea/base/parallel.hpp"
#include "tests/attention/decode_problem.hpp"

namespace fovea::testing {
namespace {

class UseKernel {
 public:
  explicit UseKernel(const char* name) { set_attention_kernel(name); }
  ~UseKernel() { set_attention_kernel(""); }
};

// Of a weight, and of a score in its place.
double narrow_tolerance(const DecodeCase& c, const reference::Attention& r) {
  const double w = weight_tolerance(c, r);
  if (c.type == CacheType::kBF16) return w + 0x1p-8;
  double most_q = 0, most_k = 0, most_weight = 0;
  for (const double x : r.q) most_q = std::max(most_q, std::abs(x));
  const auto width = static_cast<size_t>(c.d);
  for (size_t row = 0; row < r.k.size(); row += width) {
    double squared = 0;
    for (size_t i = 0; i < width; ++i) squared += r.k[row + i] * r.k[row + i];
    most_k = std::max(most_k, std::sqrt(squared));
  }
  for (const double x : r.weights) most_weight = std::max(most_weight, x);
  const double step = 1.0 / 65534;
  const double score = r.scale * std::sqrt(static_cast<double>(c.d)) * most_q * step * most_k;
  return w + 2 * score + static_cast<double>(r.lk) * most_weight * step;
}

void expect_near(const DecodeCase& c, const Decoded& x) {
  for (int64_t n = 0; n < x.inputs.q_offsets.count(); ++n) {
    const reference::Attention r = reference_of(c, x, n);
    const double tolerance = narrow_tolerance(c, r);
    ASSERT_LT(tolerance, 0.02);
    double most = 0;
    for (const double value : r.v) most = std::max(most, std::abs(value));
    const int64_t q0 = x.inputs.q_offsets.begin(n);
    for (size_t i = 0; i < r.out.size(); ++i) {
      const auto got = static_cast<double>(x.out.data()[q0 * c.heads * c.dv + static_cast<int64_t>(i)]);
      ASSERT_NEAR(got, r.out[i], tolerance * most) << "out " << i << " of sequence " << n;
    }
    for (size_t i = 0; i < r.lse.size(); ++i) {
      const auto got = static_cast<double>(x.lse.data()[q0 * c.heads + static_cast<int64_t>(i)]);
      ASSERT_NEAR(got, r.lse[i], tolerance) << "lse " << i << " of sequence " << n;
    }
  }
}

void round_queries(Decoded& x) {
  for (float& value : x.q.span()) value = static_cast<float>(BFloat16(value));
}

void check(const std::function<void(DecodeCase&)>& change) {
  for (const char* kernel : {"software_bf16", ""}) {
    const UseKernel use(kernel);
    on_every_isa([&] {
      for (const CacheType type : {CacheType::kBF16, CacheType::kInt8}) {
        DecodeCase c;
        c.type = type;
        c.spec.precision = Precision::kFast;
        change(c);
        Decoded x;
        prepare(c, x);
        round_queries(x);
        decode(c, x);
        SCOPED_TRACE(fmt::format("{} '{}'", to_string(type), kernel));
        expect_near(c, x);
      }
    });
  }
}

TEST(DecodeNarrow, EqualsFloat64ForEveryNumberOfRowsAndKeys) {
  for (const int64_t queries : {1, 2, 3, 4, 5, 7, 8, 9, 12, 17}) {
    for (const int64_t keys : {1, 2, 3, 4, 5, 63, 127, 129, 613}) {
      SCOPED_TRACE(fmt::format("{} queries on {} keys", queries, keys));
      check([&](DecodeCase& c) {
        c.q_lengths = {queries};
        c.k_lengths = {keys + queries};
        c.heads = 3, c.kv_heads = 1;
        c.d = c.dv = 32;
        c.block = 128;
        c.spec.causal = keys % 2 == 1;
      });
    }
  }
}

TEST(DecodeNarrow, EqualsFloat64ForEveryWidth) {
  for (const int64_t d : {1, 8, 31, 32, 48, 64, 96, 130, 256}) {
    for (const int64_t dv : {1, 17, 32, 80, 130}) {
      SCOPED_TRACE(fmt::format("widths {} and {}", d, dv));
      check([&](DecodeCase& c) {
        c.q_lengths = {2, 3};
        c.k_lengths = {150, 40};
        c.d = d, c.dv = dv;
        c.block = 70, c.evicted = 9;
        c.spec.causal = true;
      });
    }
  }
}

TEST(DecodeNarrow, EqualsFloat64WithEveryOption) {
  const auto with = [](const std::function<void(DecodeCase&)>& change) {
    check([&](DecodeCase& c) {
      c.q_lengths = {1, 3, 8};
      c.k_lengths = {70, 4, 700};
      c.kv_heads = 1;
      c.d = 32;
      c.spec.causal = true;
      change(c);
    });
  };
  with([](DecodeCase& c) { c.spec.window_left = 20; });
  with([](DecodeCase& c) { c.sinks = true, c.spec.softcap = 3.0f; });
  with([](DecodeCase& c) { c.alibi = true, c.evicted = 13; });
  with([](DecodeCase& c) { c.spec.scale = 0.3f; });
}

// It is not float32: the test above would pass if 16 bits were never used.
TEST(DecodeNarrow, IsUsedWherePrecisionAllows) {
  on_every_isa([] {
    for (const CacheType type : {CacheType::kF32, CacheType::kBF16, CacheType::kF16, CacheType::kInt8}) {
      DecodeCase c;
      c.q_lengths = {4};
      c.d = 32;
      c.type = type;
      Decoded strict, fast, forced;
      for (Decoded* x : {&strict, &fast, &forced}) prepare(c, *x);
      decode(c, strict);
      c.spec.precision = Precision::kFast;
      {
        const UseKernel use("software_bf16");
        decode(c, fast);
      }
      {
        const UseKernel use("float32");
        decode(c, forced);
      }
      const bool same = std::memcmp(strict.out.data(), fast.out.data(), sizeof(float) * 4 * 4 * 20) == 0;
      const bool has =
          (type == CacheType::kBF16 || type == CacheType::kInt8) && current_isa() != Isa::kBaseline;
      EXPECT_EQ(same, !has) << to_string(type);
      expect_same_bits(strict.out, forced.out, "float32 by name");
    }
  });
}

TEST(DecodeNarrow, SameBitsForAnyNumberOfThreads) {
  for (const CacheType type : {CacheType::kBF16, CacheType::kInt8}) {
    DecodeCase c;
    c.q_lengths = {2, 1, 4};
    c.k_lengths = {1500, 30, 3000};
    c.d = 64;
    c.type = type;
    c.spec.precision = Precision::kFast;
    Decoded x;
    prepare(c, x);
    expect_same_bits_on_any_threads(c, x);
  }
}

}  // namespace
}  // namespace fovea::testing
