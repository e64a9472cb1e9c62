// What the kernel tests share: sizes, random data, sweeps over instruction sets and threads, comparisons.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "fovea/base/cpu.hpp"
#include "fovea/base/parallel.hpp"
#include "fovea/base/random.hpp"

namespace fovea::kernels {

inline constexpr int64_t kSizes[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 1000};

inline std::vector<float> normals(int64_t n, uint64_t seed, double scale = 1.0) {
  Random random(seed);
  std::vector<float> out(static_cast<size_t>(n));
  for (float& x : out) x = static_cast<float>(random.normal() * scale);
  return out;
}

inline std::vector<double> widen(std::span<const float> x) {
  return {x.begin(), x.end()};
}

// |got - want| <= relative·|want| + absolute at every index; NaN and infinity must match exactly.
inline void expect_close(std::span<const float> got, std::span<const double> want, double relative,
                         double absolute, const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto g = static_cast<double>(got[i]);
    if (std::isnan(want[i]) ? std::isnan(g) : g == want[i]) continue;
    ASSERT_LE(std::abs(g - want[i]), relative * std::abs(want[i]) + absolute)
        << what << ", index " << i << ": got " << g << ", expected " << want[i];
  }
}

inline void expect_same_bits(std::span<const float> a, std::span<const float> b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(float)), 0)
        << what << ", index " << i << ": " << a[i] << " and " << b[i];
  }
}

// Runs the body once for each instruction set of this processor.
inline void on_every_isa(const std::function<void(const std::string& name)>& body) {
  const Isa before = current_isa();
  for (const Isa isa : available_isas()) {
    set_isa(isa);
    body(to_string(isa));
    if (testing::Test::HasFatalFailure()) break;
  }
  set_isa(before);
}

// Runs a computation with 1, 2, 3 and 8 threads and compares the bits of what it returns.
inline void expect_thread_independent(const std::function<std::vector<float>()>& compute,
                                      const std::string& what) {
  const int before = get_num_threads();
  set_num_threads(1);
  const std::vector<float> one = compute();
  for (const int threads : {2, 3, 8}) {
    set_num_threads(threads);
    expect_same_bits(one, compute(), what + " with " + std::to_string(threads) + " threads");
    if (testing::Test::HasFatalFailure()) break;
  }
  set_num_threads(before);
}

}  // namespace fovea::kernels
