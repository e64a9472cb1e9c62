// The engine against float64 on every instruction set: a sweep of sizes, and random combinations of every
// option.
#include <gtest/gtest.h>

#include "fovea/base/cpu.hpp"
#include "tests/attention/problem.hpp"

namespace fovea::testing {
namespace {

constexpr int64_t kSizes[] = {0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 200};
constexpr int64_t kWidths[] = {1, 8, 16, 24, 32, 33, 64, 80, 128};

class EveryIsa : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    before_ = current_isa();
    set_isa(GetParam());
  }
  void TearDown() override { set_isa(before_); }

 private:
  Isa before_ = Isa::kBaseline;
};

void check(const Problem& p) {
  const Arrays arrays = make_arrays(p);
  expect_equal_to_reference(arrays, run_engine(arrays));
}

TEST_P(EveryIsa, SizesAndWidths) {
  uint64_t seed = 1;
  for (const int64_t length : kSizes) {
    for (const int64_t width : kWidths) {
      if (length > 100 && width != 64 && width != 33) continue;
      for (const bool causal : {false, true}) {
        Problem p;
        p.q_lengths = p.k_lengths = {length};
        p.d = p.dv = width;
        p.spec.causal = causal;
        p.seed = ++seed;
        check(p);
      }
    }
  }
}

TEST_P(EveryIsa, CrossAttentionOfEverySizePair) {
  uint64_t seed = 1000;
  for (const int64_t lq : kSizes) {
    for (const int64_t lk : kSizes) {
      if (lq * lk > 130 * 70) continue;
      Problem p;
      p.q_lengths = {lq};
      p.k_lengths = {lk};
      p.d = 8;
      p.dv = 24;
      p.spec.causal = seed % 2 == 0;
      p.seed = ++seed;
      check(p);
    }
  }
}

TEST_P(EveryIsa, RandomCombinations) {
  const int cases = GetParam() == Isa::kBaseline ? 300 : 900;
  for (int i = 0; i < cases; ++i) check(random_problem(i));
}

INSTANTIATE_TEST_SUITE_P(Attention, EveryIsa, ::testing::ValuesIn(available_isas()),
                         [](const auto& instance) { return std::string(to_string(instance.param)); });

}  // namespace
}  // namespace fovea::testing
