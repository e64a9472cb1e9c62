// Reads the stored maps back as docs/formats/page.md describes them.
#include "explain/attention_maps.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <cmath>

#include "synthetic_page.hpp"

namespace fovea::explain {
namespace {

std::vector<uint8_t> from_base64(const std::string& text) {
  std::array<int, 256> digit{};
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < digits.size(); ++i)
    digit[static_cast<unsigned char>(digits[i])] = static_cast<int>(i);
  std::vector<uint8_t> bytes;
  int bits = 0, count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = (bits << 6 | digit[static_cast<unsigned char>(c)]) & 0xFFFFFF;
    count += 6;
    if (count >= 8) bytes.push_back(static_cast<uint8_t>(bits >> (count -= 8) & 255));
  }
  return bytes;
}

std::vector<uint8_t> inflated(const std::string& text, size_t size) {
  const std::vector<uint8_t> packed = from_base64(text);
  std::vector<uint8_t> bytes(size + 1);
  uLongf got = static_cast<uLongf>(bytes.size());
  EXPECT_EQ(uncompress(bytes.data(), &got, packed.data(), static_cast<uLong>(packed.size())), Z_OK);
  bytes.resize(got);
  return bytes;
}

std::vector<float> exact_rows(const PageAttention& a, int64_t layer, int64_t head, int64_t n) {
  std::vector<float> rows(static_cast<size_t>(n * n));
  a.rows(layer, head, 0, n, rows.data());
  return rows;
}

TEST(AttentionMaps, WholeRowsComeBackWithinTheStatedError) {
  for (const bool causal : {false, true}) {
    for (const int64_t n : {1, 3, 8, 17, 33, 64, 127}) {
      const PageExample e =
          synthetic_example({.tokens = n, .layers = 2, .heads = 2, .language_model = causal}, 1);
      const EncodedAttention encoded = encode_attention(e.attention, n, {});
      ASSERT_EQ(encoded.top_k, 0);
      const auto cells = static_cast<size_t>(causal ? n * (n + 1) / 2 : n * n);
      for (size_t i = 0; i < encoded.heads.size(); ++i) {
        const std::vector<float> rows =
            exact_rows(e.attention, static_cast<int64_t>(i) / 2, static_cast<int64_t>(i) % 2, n);
        const std::vector<uint8_t> codes = inflated(encoded.heads[i].rows, cells);
        ASSERT_EQ(codes.size(), cells);
        size_t at = 0;
        for (int64_t q = 0; q < n; ++q) {
          for (int64_t k = 0; k < (causal ? q + 1 : n); ++k) {
            const double w = static_cast<double>(rows[static_cast<size_t>(q * n + k)]);
            // 1e-7: the float32 weight itself.
            ASSERT_NEAR(encoded.quantiser.decode(codes[at++]), w, encoded.quantiser.error(w) + 1e-7)
                << q << ' ' << k;
          }
        }
      }
    }
  }
}

TEST(AttentionMaps, StrongestKeysAreTheStrongest) {
  constexpr int64_t kTokens = 80;
  const PageExample e = synthetic_example({.tokens = kTokens, .layers = 1, .heads = 2}, 1);
  const EncodedAttention encoded = encode_attention(e.attention, kTokens, {.exact_tokens = 10});
  ASSERT_EQ(encoded.top_k, kTokens);
  const EncodedAttention few =
      encode_attention(e.attention, kTokens, {.attention_bytes = 1, .exact_tokens = 10});
  ASSERT_EQ(few.top_k, 8);
  const std::vector<float> rows = exact_rows(e.attention, 0, 1, kTokens);
  const std::vector<uint8_t> bytes = inflated(few.heads[1].rows, kTokens * 2 + kTokens * 8 * 3);
  size_t total = 0;
  std::vector<size_t> counts;
  for (size_t q = 0; q < kTokens; ++q) {
    counts.push_back(static_cast<size_t>(bytes[2 * q] | bytes[2 * q + 1] << 8));
    total += counts.back();
  }
  ASSERT_EQ(bytes.size(), 2 * kTokens + 3 * total);
  size_t at = 2 * kTokens;
  for (size_t q = 0; q < kTokens; ++q) {
    const float* const row = rows.data() + q * kTokens;
    std::vector<float> sorted(row, row + kTokens);
    std::sort(sorted.rbegin(), sorted.rend());
    size_t key = 0;
    for (size_t i = 0; i < counts[q]; ++i, ++at) {
      key += static_cast<size_t>(bytes[at] | bytes[at + total] << 8);
      ASSERT_LT(key, static_cast<size_t>(kTokens));
      EXPECT_GE(row[key], sorted[7]) << q << ' ' << key;
      const double w = static_cast<double>(row[key]);
      EXPECT_NEAR(few.quantiser.decode(bytes[at + 2 * total]), w, few.quantiser.error(w) + 1e-7);
    }
  }
}

TEST(AttentionMaps, FiguresAreThoseOfTheExactWeights) {
  PageAttention uniform{.layers = 1, .heads = 1, .causal = false, .rows = {}};
  constexpr int64_t kTokens = 16;
  uniform.rows = [](int64_t, int64_t, int64_t begin, int64_t end, float* out) {
    std::fill(out, out + (end - begin) * kTokens, 1.0F / kTokens);
  };
  const HeadFigures f = encode_attention(uniform, kTokens, {}).heads[0].figures;
  EXPECT_NEAR(f.entropy, 1, 1e-12);
  EXPECT_NEAR(f.first_share, 1.0 / kTokens, 1e-12);
  EXPECT_NEAR(f.self_share, 1.0 / kTokens, 1e-12);
  EXPECT_NEAR(f.strongest, 1.0 / kTokens, 1e-12);
  EXPECT_NEAR(f.distance, (kTokens * kTokens - 1) / (3.0 * kTokens),
              1e-12);                                            // mean |i − j| of two uniform numbers
  EXPECT_EQ(f.top_keys, (std::vector<int64_t>{0, 1, 2, 3, 4}));  // ties to the lower index
}

TEST(AttentionMaps, SizeStaysWithinTheAllowance) {
  const PageExample e = synthetic_example({.tokens = 300, .layers = 2, .heads = 4}, 3);
  for (const int64_t allowance : {2'000'000, 600'000, 400'000, 250'000, 150'000}) {
    const EncodedAttention encoded = encode_attention(e.attention, 300, {.attention_bytes = allowance});
    size_t size = 0;
    for (const EncodedHead& h : encoded.heads) {
      size += h.rows.size() + h.overview.size() + h.row_entropy.size() + h.key_mass.size();
    }
    EXPECT_LE(size, static_cast<size_t>(allowance))
        << "M " << encoded.quantiser.maximum << ", top " << encoded.top_k;
  }
}

}  // namespace
}  // namespace fovea::explain
