#include "fovea/kernels/convert.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "tests/kernels/kernel_test.hpp"

namespace fovea::kernels {
namespace {

TEST(Convert, RoundsToNearestEvenOnEveryIsa) {
  std::vector<float> x = {0.0f,
                          -0.0f,
                          1.0f,
                          std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::signaling_NaN(),
                          std::numeric_limits<float>::max(),
                          1e-42f};
  // Halfway cases, their neighbours, and bits of every kind.
  for (const uint32_t u :
       {0x3F808000u, 0x3F818000u, 0x3F808001u, 0x3F807FFFu, 0x7F7F8000u, 0x00008000u, 0xFF800001u}) {
    x.push_back(std::bit_cast<float>(u));
  }
  Random random(7);
  while (x.size() < 1000) x.push_back(std::bit_cast<float>(random.next_u32()));
  on_every_isa([&](const std::string& isa) {
    for (const int64_t n : kSizes) {
      std::vector<BFloat16> narrow(static_cast<size_t>(n));
      std::vector<float> wide(static_cast<size_t>(n));
      to_bf16(n, x.data(), narrow.data());
      from_bf16(n, narrow.data(), wide.data());
      for (size_t i = 0; i < wide.size(); ++i) {
        ASSERT_EQ(narrow[i].bits, BFloat16(x[i]).bits) << isa << " index " << i << ": " << x[i];
        ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), static_cast<uint32_t>(narrow[i].bits) << 16)
            << isa << " index " << i;
      }
    }
  });
}

TEST(Convert, Float16EqualsTheScalarTypeOnEveryIsa) {
  std::vector<Float16> every(65536);
  for (size_t i = 0; i < every.size(); ++i) every[i].bits = static_cast<uint16_t>(i);
  std::vector<float> x;
  for (const Float16 h : every) {  // each value, the middle to the next, and the neighbours of the middle
    const auto value = static_cast<float>(h);
    Float16 next = h;
    ++next.bits;
    const float middle = 0.5f * value + 0.5f * static_cast<float>(next);
    x.insert(x.end(), {value, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e30f)});
  }
  on_every_isa([&](const std::string& isa) {
    std::vector<float> wide(every.size());
    from_f16(static_cast<int64_t>(every.size()), every.data(), wide.data());
    for (size_t i = 0; i < every.size(); ++i) {
      const auto want = static_cast<float>(every[i]);
      ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(want)) << isa << " bits " << i;
    }
    std::vector<Float16> narrow(x.size());
    to_f16(static_cast<int64_t>(x.size()), x.data(), narrow.data());
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(narrow[i].bits, Float16(x[i]).bits) << isa << " of " << x[i];
    }
  });
}

}  // namespace
}  // namespace fovea::kernels
