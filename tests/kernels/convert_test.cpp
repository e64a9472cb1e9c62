#include "fovea/kernels/convert.hpp"

#include <bit>
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

}  // namespace
}  // namespace fovea::kernels
